"""The argument and parser names of the installed vLLM, read from its source: nothing imported."""

import ast
import importlib.util
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from engines.registry.parsers import REASONING_PARSERS, TOOL_PARSERS
from engines.spelling import did_you_mean

OWN_ARGUMENTS = frozenset({"fastpath", "form_compile_s", "prefill_step_ms"})
"""Engine arguments of ours, beside vLLM's; vLLM never sees them."""


@cache
def vllm_argument_names() -> frozenset[str]:
    """Fields of vLLM's AsyncEngineArgs, and ours; empty where there is no vLLM. About 50 ms."""
    names: set[str] = set()
    for node in vllm_source("engine/arg_utils.py").body:
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs"):
            fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
            names |= {each.id for each in fields if isinstance(each, ast.Name)}
    return frozenset(names | OWN_ARGUMENTS) if names else frozenset()


def unknown_arguments(args: Iterable[str], known: Collection[str]) -> list[tuple[str, str]]:
    """(name, complaint) of every argument that vLLM lacks."""
    return [
        (name, f"vLLM has no such argument{did_you_mean(name, known)}")
        for name in args
        if name not in known
    ]


def unknown_parser(name: str, known: Collection[str]) -> str:
    return (
        f"vLLM has no parser {name!r}{did_you_mean(name, known)}; known: {', '.join(sorted(known))}"
    )


@cache
def vllm_tool_parser_names() -> frozenset[str]:
    """What may stand as `tool_parser`: the installed vLLM's, or those of the supported one."""
    return _registered("tool_parsers/__init__.py") or TOOL_PARSERS


@cache
def vllm_reasoning_parser_names() -> frozenset[str]:
    """What may stand as vLLM's own `reasoning_parser`, installed or not."""
    return _registered("reasoning/__init__.py") or REASONING_PARSERS


def _registered(file: str) -> frozenset[str]:
    """The string keys of the module's name -> (file, class) table."""
    tables = [n.value for n in vllm_source(file).body if isinstance(n, ast.Assign | ast.AnnAssign)]
    keys = [key for table in tables if isinstance(table, ast.Dict) for key in table.keys]
    return frozenset(str(k.value) for k in keys if isinstance(k, ast.Constant))


def vllm_source(file: str) -> ast.Module:
    """One file of the installed vLLM, by its path in the package; empty where there is none."""
    vllm = importlib.util.find_spec("vllm")
    if vllm is None or vllm.origin is None:
        return ast.Module(body=[], type_ignores=[])
    path = Path(vllm.origin).parent / file
    return (
        ast.parse(path.read_text("utf-8"))
        if path.exists()
        else ast.Module(body=[], type_ignores=[])
    )


def by_keyword(args: Mapping[str, Any]) -> dict[str, Any]:
    """A model's `args` under the names that Python's keywords have."""
    return {name.replace("-", "_"): value for name, value in args.items()}
