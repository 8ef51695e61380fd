"""What servers of a site say to each other survives the way, however it is cut into pieces."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import errors
from engines.base import (
    ContextLengthExceeded,
    Delta,
    Embedding,
    EngineBehindDead,
    EngineDead,
    EngineHung,
    EngineLoadTimeout,
    EngineOverloaded,
    EngineUnavailable,
    GenerateRequest,
    InvalidRequest,
    Reasoning,
    RequestKillsEngines,
    Sampling,
    Speech,
    Structure,
    ThinkingBudget,
    TokenLogprob,
    Tool,
    ToolCallDelta,
)
from engines.content import Picture
from engines.speech import SpokenLanguage
from server.fairness.gate import EngineLeft
from server.peers.errors import WireError, heard_error, told_error
from server.peers.wire import (
    FULL,
    PLAIN,
    Asker,
    FrameReader,
    RenderCall,
    decoder,
    delta_frame,
    encode,
    frame,
    heard_delta,
    heard_vector,
    packed_ids,
    told_vector,
    unpacked_ids,
)

ASKER = Asker("acme", "k")
CALLS = decoder(RenderCall)


def sent(request: GenerateRequest) -> GenerateRequest:
    call: RenderCall = CALLS.decode(encode(RenderCall("m", request, ASKER, 1.0)))
    return call.request


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_are_the_same_in_any_pieces(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frame(PLAIN, i, payload) for i, payload in enumerate(payloads))
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    reader = FrameReader()
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    found = [each for piece in pieces for each in reader.feed(piece)]
    assert found == [(PLAIN, i, payload) for i, payload in enumerate(payloads)]


@pytest.mark.parametrize("data", [b"\xff" * 9, frame(200, 1), frame(PLAIN, 1, b"x" * 101)[:9]])
def test_what_is_no_frame_or_too_long_is_refused_at_its_head(data: bytes) -> None:
    with pytest.raises(ValueError, match="no frame"):
        list(FrameReader(most_bytes=100).feed(data))


def test_a_long_frame_in_small_pieces_costs_its_length() -> None:
    payload = bytes(8 * 2**20)
    whole, reader, found = frame(FULL, 7, payload), FrameReader(), []
    for at in range(0, len(whole), 4096):
        found += list(reader.feed(whole[at : at + 4096]))
    assert found == [(FULL, 7, payload)]


@pytest.mark.parametrize(
    "delta",
    [
        Delta(),
        Delta(index=3, text="å\U0001f600", token_count=2),
        Delta(reasoning="so", reasoning_token_count=1, token_count=1),
        Delta(cached_tokens=16, text="a", token_count=1),
        Delta(finish_reason="stop", stop="END"),
        Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="f", arguments="{"),)),
        Delta(logprobs=(TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -9.0, (98,)),)),)),
        Delta(prompt_logprobs=(TokenLogprob("a", -0.5, (97,)),)),
        Delta(text="a", token_count=9, finish_reason="length", gathered_s=0.25),
    ],
)
def test_a_delta_is_the_same(delta: Delta) -> None:
    [(kind, number, payload)] = FrameReader().feed(delta_frame(5, delta))
    assert number == 5
    assert heard_delta(kind, payload) == delta


@pytest.mark.parametrize("seconds", [-0.5, math.inf, math.nan])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    delta = Delta(text="a", token_count=1, finish_reason="stop", gathered_s=seconds)
    [(kind, _, payload)] = FrameReader().feed(delta_frame(5, delta))
    with pytest.raises(ValueError, match="gathered"):
        heard_delta(kind, payload)


def test_a_request_is_the_same() -> None:
    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(
            max_tokens=2**31 - 1,
            n=128,
            seed=-(2**63),
            stop=("a", "\0"),
            logit_bias={0: -100.0, 200_000: 100.0},
            thinking_budget=ThinkingBudget(tokens=0),
        ),
        messages=[{"role": "user", "content": "å\U0001f600"}],
        tools=(Tool(name="f", parameters={"type": "object"}, strict=True),),
        structure=Structure(kind="json_schema", value={"enum": [1, 2.5, None, "x", True]}),
        chat_template_kwargs={"deep": [{"a": None}]},
        cache_salt="s",
    )
    assert sent(request) == request


HUGE = [2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**300, -(10**300), True, 0]


def test_integers_beyond_64_bits_are_the_same_wherever_they_stand() -> None:
    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1, seed=-(2**63), stop=("a",)),
        messages=[{"role": "user", "content": "x", "deep": [{"n": HUGE}]}],
        tools=(Tool(name="f", parameters={"maximum": 2**64, "enum": HUGE}),),
        structure=Structure(kind="json_schema", value={"enum": HUGE}),
        chat_template_kwargs={"a": HUGE},
        reasoning=Reasoning(),
        speech=None,
    )
    assert sent(request) == request


def test_pictures_and_recordings_are_the_same() -> None:
    pictures = [Picture(b"\x89PNG", 3, 4), Picture(b"\x89PNG", 3, 4, is_low=True)]
    parts = [{"type": "picture", "picture": each} for each in pictures]
    asked = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1),
        messages=[{"role": "user", "content": parts}],
    )
    found = [part["picture"] for part in sent(asked).messages[0]["content"]]  # type: ignore[index]
    told = [(p.data, p.width, p.height, p.is_low, p.digest) for p in found]
    assert told == [(p.data, p.width, p.height, p.is_low, p.digest) for p in pictures]
    speech = Speech(samples=memoryview(b"abcd"), tokens=3, language=SpokenLanguage("no"))
    heard = sent(GenerateRequest(request_id="r", sampling=asked.sampling, speech=speech)).speech
    assert heard is not None
    assert (bytes(heard.samples), heard.tokens, heard.language.code) == (b"abcd", 3, "no")


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("no", "stop", "fewer", 3),
        ContextLengthExceeded(5, 3, 4),
        ContextLengthExceeded(5, None, 4, characters=99),
        EngineOverloaded("full", 2.5),
        EngineOverloaded("full", 2.5, {"position": 3, "owner_position": 1, "limit": 2}),
        EngineUnavailable("away", 3.0),
        EngineLoadTimeout("late", 4.0, {"state": "starting", "eta_s": None}),
        RequestKillsEngines(2),
    ],
)
def test_an_engines_error_is_the_same(error: Exception) -> None:
    found = heard_error(decoder(WireError).decode(encode(told_error(error))), "gpu-1")
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", [EngineDead("gone"), EngineHung("silent")])
def test_an_engine_that_died_there_is_not_the_node(error: Exception) -> None:
    found = heard_error(decoder(WireError).decode(encode(told_error(error))), "gpu-1")
    assert type(found) is EngineBehindDead
    assert str(found) == str(error)


def test_another_error_is_told_without_its_words() -> None:
    found = heard_error(told_error(KeyError("/secret/path")), "gpu-1")
    assert type(found) is EngineUnavailable
    assert str(found) == "The server gpu-1 failed; its log says why."
    assert (
        type(heard_error(told_error(EngineLeft("it ended")), "gpu-1")) is errors.EngineUnavailable
    )


def test_vectors_and_ids_are_the_same() -> None:
    embedding = Embedding(vector=[0.5, -0.25, 0.0], prompt_tokens=3, cached_tokens=1)
    assert heard_vector(told_vector(embedding)) == embedding
    assert unpacked_ids(packed_ids([0, 1, 2**32 - 1])) == [0, 1, 2**32 - 1]
    assert unpacked_ids(packed_ids([])) == []
