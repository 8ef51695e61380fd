"""vLLM's own LLM.generate, a process of its own: what the engine does with no server around it.

Prompts are rendered and tokenised before the clock starts, which no server can do.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.cases import WARM_UP, Case, bodies
from benchmarks.load import Outcome
from benchmarks.models import Model
from benchmarks.processes import DidNotStart
from benchmarks.servers import ROOT, engine_environment

LIMIT_S = 600.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One engine, and batches of requests in the API's form."""

    path: str
    engine_args: Mapping[str, Any]
    batches: Sequence[Sequence[str]]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One batch."""

    wall_s: float
    tokens: int
    prompt_tokens: int


def offline(model: Model, cases: Sequence[Case], seed: int, folder: Path) -> list[Outcome]:
    """One outcome a case, all requests of a case at once. Raises DidNotStart."""
    folder.mkdir(parents=True, exist_ok=True)
    batches = [bodies(WARM_UP, 0), *(bodies(case, seed) for case in cases)]
    work = Work(path=str(model.folder), engine_args=model.engine_args, batches=batches)
    log, result = folder / "offline.log", folder / "offline.json"
    result.unlink(missing_ok=True)
    with log.open("wb") as out:
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.offline", str(result)],
            input=msgspec.json.encode(work),
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env={**os.environ, **engine_environment()},
            timeout=LIMIT_S,
        )
    if ended.returncode or not result.exists():
        said = log.read_bytes()[-3000:].decode(errors="replace")
        raise DidNotStart(f"LLM.generate: exit status {ended.returncode}; {log} ends:\n{said}")
    done = msgspec.json.decode(result.read_bytes(), type=list[Done])
    return [_outcome(one, case) for one, case in zip(done[1:], cases, strict=True)]


def _outcome(done: Done, case: Case) -> Outcome:
    return Outcome(
        wall_s=done.wall_s,
        tokens=done.tokens,
        prompt_tokens=done.prompt_tokens,
        chunks=0,
        ttft_s=[],
        gaps_s=[],
        total_s=[done.wall_s] * case.requests,
        errors=[],
        generator_cpu_s=0.0,
    )


def _run(work: Work) -> Iterable[Done]:
    from vllm import LLM

    llm = LLM(model=work.path, **work.engine_args)
    tokenizer = llm.get_tokenizer()
    for batch in work.batches:
        requests = [json.loads(body) for body in batch]
        prompts = [{"prompt_token_ids": _token_ids(tokenizer, request)} for request in requests]
        yield _generate(llm, prompts, [_params(request) for request in requests])


def _generate(llm: Any, prompts: list[Any], params: list[Any]) -> Done:
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    return Done(
        wall_s=time.perf_counter() - began,
        tokens=sum(len(output.outputs[0].token_ids) for output in outputs),
        prompt_tokens=sum(len(output.prompt_token_ids) for output in outputs),
    )


def _token_ids(tokenizer: Any, request: Mapping[str, Any]) -> list[int]:
    text = tokenizer.apply_chat_template(
        request["messages"], tokenize=False, add_generation_prompt=True
    )
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _params(request: Mapping[str, Any]) -> Any:
    from vllm import SamplingParams

    names = ("max_tokens", "temperature", "ignore_eos")
    return SamplingParams(**{name: request[name] for name in names})


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    done = list(_run(work))
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
