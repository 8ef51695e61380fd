"""What is wrong with the arguments that an entry gives to its engine."""

from collections.abc import Mapping
from typing import Any

from engines.registry.several_machines import machine_errors
from engines.registry.spec import LLAMACPP_CONTEXT_TOKENS
from engines.registry.vllm_names import (
    unknown_arguments,
    unknown_parser,
    vllm_argument_names,
    vllm_reasoning_parser_names,
)


def argument_errors(kind: str, args: Mapping[str, Any], context: int) -> list[tuple[str, str]]:
    """(argument, what is wrong) for names the engine lacks, a parser that does not exist, and a
    context it cannot hold."""
    known = vllm_argument_names() if kind == "vllm" else frozenset()
    own = list(machine_errors(args)) if kind == "vllm" else []
    told = {name for name, _ in own}
    others = [name for name in args if name.replace("-", "_") not in told]
    wrong = own + (unknown_arguments(others, known) if known else [])
    parser = args.get("reasoning_parser") if kind == "vllm" else None
    if parser and parser not in vllm_reasoning_parser_names():
        complaint = unknown_parser(str(parser), vllm_reasoning_parser_names())
        wrong.append(("reasoning_parser", complaint))
    name, held = _held_context(kind, args)
    if held is not None and held < context:
        wrong.append((name, f"{held} tokens are fewer than the model's context of {context}"))
    return wrong


def _held_context(kind: str, args: Mapping[str, Any]) -> tuple[str, int | None]:
    """The argument that bounds a sequence, and its bound where it is a plain number."""
    if kind != "llamacpp":
        held = args.get("max_model_len")
        return "max_model_len", held if isinstance(held, int) and held > 0 else None
    held = args.get("n_ctx", LLAMACPP_CONTEXT_TOKENS)
    if not isinstance(held, int) or held <= 0:
        return "n_ctx", None
    slots = args.get("n_parallel", 1) if args.get("kv_unified") is False else 1
    return "n_ctx", held // slots if isinstance(slots, int) and slots > 0 else held
