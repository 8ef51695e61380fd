"""Each part of the fast path proves itself on a new engine; what fails is left out, alone."""

import asyncio
import copy
from typing import Any

import pytest

from engines.base import EngineUnavailable
from engines.vllm.engine import VllmEngine
from engines.vllm.fastpath.fast_path import FastPath
from engines.vllm.fastpath.probes import differences
from engines.vllm.fastpath.switch import is_fast_path_on
from tests.support.engine_core import engine_over
from tests.support.engine_fixtures import answer, ask, text

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]


async def started(llm: Any, **args: Any) -> VllmEngine:
    engine = engine_over(llm, **args)
    await engine.start()
    return engine


def fast_path(engine: VllmEngine) -> FastPath:
    assert engine._fast_path is not None
    return engine._fast_path


async def test_a_field_that_a_copy_would_take_from_another_request_ends_the_copying(
    llm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = llm.input_processor.process_inputs

    def with_new_field(request_id: str, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        request = process(request_id, prompt, *args, **kwargs)
        request.data_parallel_rank = len(prompt["prompt_token_ids"])
        return request

    monkeypatch.setattr(llm.input_processor, "process_inputs", with_new_field)
    engine = await started(llm)
    assert not fast_path(engine).requests._is_copying
    [record] = caplog.records
    assert "copied requests is left out" in record.getMessage()
    assert "data_parallel_rank" in record.getMessage()


async def test_a_field_of_the_sampling_parameters_counts_too(llm: Any) -> None:
    from vllm.sampling_params import SamplingParams

    engine = await started(llm)
    request = ask()
    rendered = await engine.render(request)
    made = llm.input_processor.process_inputs(
        "a", rendered.rendered, SamplingParams(), ("generate",)
    )
    other = copy.copy(made)
    other.sampling_params = copy.copy(made.sampling_params)
    assert differences(made, other) == []
    other.sampling_params.top_k = 7
    other.priority = 1
    assert differences(made, other) == ["priority", "sampling_params.top_k"]


async def test_text_that_is_not_the_detokenizers_is_left_to_it(
    llm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A vLLM that changes what its detokenizer says."""
    from vllm.v1.engine.detokenizer import FastIncrementalDetokenizer

    told = FastIncrementalDetokenizer.get_next_output_text
    monkeypatch.setattr(
        FastIncrementalDetokenizer,
        "get_next_output_text",
        lambda self, finished, delta: told(self, finished, delta).upper(),
    )
    engine = await started(llm)
    texts = fast_path(engine).router.texts
    assert (texts._has_byte_text, texts._is_grouped) == (False, False)
    parts = [record.getMessage() for record in caplog.records]
    assert ["text from tokens' bytes" in parts[0], "several tokens" in parts[1]] == [True, True]
    assert len(parts) == 2
    assert text(await answer(engine, ask(max_tokens=60))).isupper()


async def test_an_output_processor_with_another_signature_ends_the_direct_streams(
    llm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add = llm.output_processor.add_request

    def named_only(
        request: Any, prompt: Any, parent_req: Any, request_index: int, **kw: Any
    ) -> Any:
        return add(request, prompt, parent_req, request_index, **kw)

    monkeypatch.setattr(llm.output_processor, "add_request", named_only)
    engine = await started(llm)
    assert engine._fast_path is None
    assert "direct streams is left out" in caplog.text


async def test_a_name_that_goes_while_it_serves_sends_requests_the_public_way(
    llm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await started(llm)
    monkeypatch.setattr(fast_path(engine).router, "_states", None)
    for _ in range(2):
        request = ask(max_tokens=3)
        stream = engine.generate(request, await engine.render(request), Never())
        assert sum([delta.token_count async for delta in stream]) == 3
    assert len(caplog.records) == 1
    assert not llm.output_processor.request_states


class Never:
    """A Sink that is never ready."""

    def is_ready(self) -> bool:
        return False

    def take(self, delta: Any) -> None:
        raise AssertionError


async def test_the_probes_are_neither_counted_nor_kept_nor_seen_by_the_engine(llm: Any) -> None:
    llm.engine_core.aborted.clear()
    engine = await started(llm)
    assert engine.generated_tokens == 0
    assert llm.engine_core.aborted == []
    assert not llm.output_processor.request_states
    assert not llm.output_processor.external_req_ids


async def test_where_the_operator_wants_vllms_statistics_nothing_is_warned_of(
    llm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(llm.output_processor, "log_stats", True)
    engine = await started(llm)
    assert engine._fast_path is None
    assert not caplog.records


async def test_proving_does_not_hold_up_other_streams(llm: Any) -> None:
    await started(llm)  # what is only slow at first
    starting = asyncio.ensure_future(started(llm))
    turns = 0
    while not starting.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_the_environment_turns_it_off(value: str) -> None:
    assert not is_fast_path_on({}, {"FJORD_FASTPATH": value})
    assert not is_fast_path_on({"fastpath": True}, {"FJORD_FASTPATH": value})


def test_it_is_on_unless_it_is_turned_off() -> None:
    assert is_fast_path_on({}, {})
    assert is_fast_path_on({}, {"FJORD_FASTPATH": "1"})
    assert not is_fast_path_on({"fastpath": False}, {})
    with pytest.raises(EngineUnavailable, match="fastpath is 'maybe'; right would be true or"):
        is_fast_path_on({"fastpath": "maybe"}, {})
