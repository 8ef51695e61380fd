"""What fails in one answer ends that answer: only a vLLM that says it died ends the engine."""

import asyncio
from typing import Any

import pytest

from engines.base import (
    Delta,
    EngineDead,
    EngineOverloaded,
    EngineUnavailable,
    InvalidRequest,
    Tool,
)
from engines.vllm.engine import VllmEngine
from tests.support.engine_core import engine_over
from tests.support.engine_fixtures import answer, ask, count

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]
WEATHER = Tool(name="weather", parameters={"type": "object", "properties": {}})


@pytest.fixture(params=[True, False], ids=["fast", "public"])
async def engine(request: pytest.FixtureRequest, llm: Any) -> VllmEngine:
    engine = engine_over(llm, fastpath=request.param)
    await engine.start()
    return engine


class Reader:
    """A Sink that takes what it can until it breaks."""

    def __init__(self, breaks_at: int = 10**9) -> None:
        self.deltas: list[Delta] = []
        self.breaks_at = breaks_at
        self.has_begun = asyncio.Event()

    def is_ready(self) -> bool:
        return bool(self.deltas)

    def take(self, delta: Delta) -> None:
        if len(self.deltas) >= self.breaks_at:
            raise KeyError("the sink is broken")
        self.deltas.append(delta)
        self.has_begun.set()


async def read(engine: VllmEngine, reader: Reader, **fields: Any) -> None:
    request = ask(**fields)
    async for delta in engine.generate(request, await engine.render(request), reader):
        reader.take(delta)


async def goes_on(engine: VllmEngine, llm: Any) -> None:
    """Nothing is left of what failed, and the next answer is whole."""
    await engine.check(5.0)
    await asyncio.sleep(0)
    assert not llm.output_processor.request_states
    assert not llm.engine_core.requests
    assert count(await answer(engine, ask(max_tokens=4))) == 4


async def test_a_sink_that_breaks_ends_its_answer_alone(engine: VllmEngine, llm: Any) -> None:
    reader, other = Reader(breaks_at=5), Reader()
    with pytest.raises(KeyError, match="the sink is broken"):
        await asyncio.gather(read(engine, reader, max_tokens=50), read(engine, other, max_tokens=9))
    await read(engine, other, max_tokens=9)
    assert len(reader.deltas) == 5
    assert llm.engine_core.aborted, "vLLM is told that nobody reads it"
    await goes_on(engine, llm)


async def test_a_tool_parser_that_raises_ends_its_answer_alone(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.parser import ParserManager

    made = ParserManager.get_parser(tool_parser_name="hermes", enable_auto_tools=True)

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise IndexError("vLLM's parser stumbled")

    monkeypatch.setattr(made, "parse_delta", broken)
    monkeypatch.setattr(ParserManager, "get_parser", staticmethod(lambda **_: made))
    with pytest.raises(IndexError, match="stumbled"):
        await read(engine, Reader(), tools=(WEATHER,), tool_parser="hermes", max_tokens=50)
    await goes_on(engine, llm)


async def test_an_unknown_end_ends_its_answer_alone_and_what_came_before_counts(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1 import engine as vllm_engine

    reasons = [*vllm_engine.FINISH_REASON_STRINGS]
    reasons[4] = "boredom"
    monkeypatch.setattr(vllm_engine, "FINISH_REASON_STRINGS", reasons)
    llm.engine_core.finish = vllm_engine.FinishReason.REPETITION
    reader = Reader()
    with pytest.raises(RuntimeError, match="'boredom', which is unknown"):
        await read(engine, reader, max_tokens=6)
    llm.engine_core.finish = None
    assert sum(delta.token_count for delta in reader.deltas) == 5
    await goes_on(engine, llm)


async def test_an_answer_that_vllm_failed_may_be_sent_again(engine: VllmEngine, llm: Any) -> None:
    from vllm.v1.engine import FinishReason

    llm.engine_core.finish = FinishReason.ERROR
    with pytest.raises(EngineUnavailable, match="sent again"):
        await read(engine, Reader(), max_tokens=6)
    llm.engine_core.finish = None
    await goes_on(engine, llm)


async def test_an_engine_that_died_is_dead_to_its_answers(engine: VllmEngine, llm: Any) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    reader = Reader()
    reading = asyncio.ensure_future(read(engine, reader, max_tokens=3000))
    await asyncio.wait_for(reader.has_begun.wait(), 10)
    llm.output_processor.propagate_error(EngineDeadError())
    with pytest.raises(EngineDead):
        await reading
    await goes_on(engine, llm)
    llm.engine_core.resources.engine_dead = True
    with pytest.raises(EngineDead):
        await answer(engine, ask())
    with pytest.raises(EngineDead):
        await engine.check(5.0)


def limit_queue(llm: Any, monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    if not hasattr(llm, "check_admission"):
        pytest.skip("this vLLM has no limit of its queue")
    monkeypatch.setattr(llm.scheduler_config, "max_num_queued_tokens", tokens)


@pytest.mark.parametrize("error", [AttributeError, TypeError, ImportError, KeyError])
async def test_a_bug_in_a_submission_is_not_the_clients_fault(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error("no such thing in this vLLM")

    with monkeypatch.context() as patched:
        patched.setattr(llm.input_processor, "_validate_params", broken)
        with pytest.raises(error, match="no such thing"):
            await read(engine, Reader(), temperature=0.31)
    await goes_on(engine, llm)


async def test_what_a_check_refuses_is(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.exceptions import VLLMValidationError

    for refusal in (ValueError("too hot"), VLLMValidationError("too hot", parameter="heat")):

        def refuses(*_: Any, refusal: Exception = refusal, **__: Any) -> None:
            raise refusal

        with monkeypatch.context() as patched:
            patched.setattr(llm.input_processor, "_validate_params", refuses)
            with pytest.raises(InvalidRequest, match="too hot") as caught:
                await read(engine, Reader(), temperature=0.32)
        assert caught.value.param == getattr(refusal, "parameter", None)
    await goes_on(engine, llm)


async def test_a_full_queue_is_neither(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_queue(llm, monkeypatch, 0)
    with pytest.raises(EngineOverloaded):
        await read(engine, Reader())
    monkeypatch.undo()
    await goes_on(engine, llm)


async def test_streams_that_are_past_their_prompts_do_not_fill_the_queue(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_queue(llm, monkeypatch, 30)
    readers = [Reader() for _ in range(5)]
    running = []
    for reader in readers:
        running.append(asyncio.ensure_future(read(engine, reader, max_tokens=3000)))
        await asyncio.wait_for(reader.has_begun.wait(), 10)
        assert llm.get_num_queued_tokens() == 0
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_bug_while_rendering_is_not_the_clients_fault(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise AttributeError("no such renderer")

    monkeypatch.setattr(llm.renderer, "render_cmpl", broken)
    with pytest.raises(AttributeError, match="no such renderer"):
        await engine.render(ask(prompt=[1, 2]))
    with pytest.raises(InvalidRequest) as refusal:
        await engine.render(ask("lone \ud800 surrogate"))
    assert refusal.value.param == "messages"


async def test_a_render_that_waits_while_the_engine_stops_hears_of_a_dead_engine(
    engine: VllmEngine,
) -> None:
    await engine._threads.of_length(0)(int)  # they run
    await asyncio.to_thread(engine._threads.close)
    with pytest.raises(EngineDead, match="stopped"):
        await engine.render(ask("a long one " * 100))


async def test_a_wake_that_fails_is_done_again(
    engine: VllmEngine, llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    async def wake_up(tags: Any = None) -> None:
        calls.append("wake")
        if len(calls) == 1:
            raise RuntimeError("no memory yet")

    async def sleep(level: int) -> None:
        calls.clear()

    monkeypatch.setattr(llm.model_config, "enable_sleep_mode", True)
    monkeypatch.setattr(llm, "sleep", sleep, raising=False)
    monkeypatch.setattr(llm, "wake_up", wake_up, raising=False)
    await engine.sleep()
    with pytest.raises(RuntimeError, match="no memory yet"):
        await engine.wake()
    await engine.wake()
    await engine.wake()
    assert calls == ["wake", "wake"]
