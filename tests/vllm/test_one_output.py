"""Single outputs that are asked of vLLM beside answers: scores, and which language is spoken."""

import asyncio
import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engines.base import EngineDead, InvalidRequest
from engines.pair_fit import ReadPair
from engines.registry.spec import EngineSpec
from engines.speech import Speech, SpokenLanguage
from engines.vllm.engine import VllmEngine
from engines.vllm.errors import rendering_error
from engines.vllm.scores import scores
from engines.vllm.speech import SpeechRenderer

pytestmark = [pytest.mark.anyio, pytest.mark.vllm]
SECOND = Speech(samples=memoryview(bytes(32_000)), tokens=50, language=SpokenLanguage())


@pytest.fixture(autouse=True, scope="module")
def vllm_is_imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        import vllm.pooling_params
        import vllm.sampling_params
        import vllm.v1.engine.exceptions  # noqa: F401


class Collector:
    """vLLM's, which a stop puts an error into."""

    request_id = "x"

    def __init__(self) -> None:
        self._put: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, output: Any) -> None:
        self._put.put_nowait(output)

    async def get(self) -> Any:
        output = await self._put.get()
        if isinstance(output, Exception):
            raise output
        return output


class Llm:
    """AsyncLLM: `refused` is the number of the request that it does not take."""

    errored, tokenizer = False, None

    def __init__(self, refused: int | None = None) -> None:
        self.refused, self.asked = refused, 0

    async def add_request(self, request_id: str, prompt: Any, params: Any) -> Collector:
        self.asked += 1
        if self.asked - 1 == self.refused:
            raise ValueError("too long")
        return Collector()

    async def abort(self, request_id: str, internal: bool = False) -> None:
        pass


def hearing(llm: Llm, running: set[Any]) -> SpeechRenderer:
    made = SpeechRenderer(llm, cast(Any, None), running)
    made.__dict__["_model"] = SimpleNamespace(
        supports_explicit_language_detection=True,
        get_language_token_ids=lambda tokenizer: [1, None, 2],
        get_language_detection_prompt=lambda audio, config: {"prompt": len(audio)},
        get_speech_to_text_config=lambda config, task: None,
        parse_language_detection_output=lambda ids, tokenizer: {1: "en", 2: "no"}[ids[0]],
    )
    llm.model_config = None  # type: ignore[attr-defined]
    return made


async def begun(running: set[Any]) -> None:
    async with asyncio.timeout(60):
        while not running:  # noqa: ASYNC110 - the engine's own set tells nobody
            await asyncio.sleep(0)


async def told(*token_ids: int) -> str:
    running: set[Any] = set()
    asked = asyncio.ensure_future(hearing(Llm(), running)._spoken(SECOND, "r"))
    await begun(running)
    for collector in list(running):
        collector.put(SimpleNamespace(outputs=[SimpleNamespace(token_ids=token_ids)]))
    try:
        return await asked
    finally:
        assert not running


async def test_a_language_is_what_the_one_token_says() -> None:
    assert await told(2) == "no"


async def test_a_step_that_vllm_aborts_is_a_dead_engine() -> None:
    with pytest.raises(EngineDead):
        await told()


async def test_a_stop_ends_the_search_for_a_language_at_once() -> None:
    engine = VllmEngine(EngineSpec(kind="vllm", source=""), "")
    asked = asyncio.ensure_future(hearing(Llm(), engine._running)._spoken(SECOND, "r"))
    await begun(engine._running)
    await engine.stop()
    with pytest.raises(EngineDead, match="was stopped"):
        await asyncio.wait_for(asked, 10)


async def test_what_a_recording_brings_is_named_by_its_field() -> None:
    with pytest.raises(InvalidRequest, match="The file cannot be read: too long") as refused:
        await hearing(Llm(refused=0), set())._spoken(SECOND, "r")
    assert refused.value.param == "file"
    error: Any = rendering_error(ValueError("no samples"), "file")
    assert (error.param, error.expected) == ("file", "a recording that the model can hear")


async def test_a_document_that_vllm_refuses_is_named() -> None:
    pairs = [ReadPair([1, 2, 3])] * 3
    with pytest.raises(InvalidRequest, match="The documents cannot be read: too long") as refused:
        await scores(Llm(refused=1), "r", "classify", [{}] * 3, pairs, 64, set())
    assert (refused.value.param, refused.value.input_index) == ("documents", 65)
