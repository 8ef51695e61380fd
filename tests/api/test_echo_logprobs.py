"""A prompt echoed with its log probabilities, as lm-eval and other harnesses ask for them."""

from typing import Any, Final

import httpx
import pytest

from engines.base import TokenLogprob
from server.api.completion_answers import Echo
from server.api.completion_logprobs import prompt_body, prompt_text
from tests.support.serving import Served, read_records, scripted, server_of
from tests.support.wire_checks import assert_error, events

PATH: Final = "/v1/completions"
EVAL: Final[dict[str, Any]] = {
    "model": "m", "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True,
}  # fmt: skip
"""lm-eval's request for a loglikelihood, but for the prompt."""

served = server_of(scripted("m", text=" said more"), scripted("small", context_tokens=6))
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def choices_of(client: httpx.Client, stream: bool, **fields: Any) -> tuple[list[Any], Any]:
    """The choices put together, and the usage."""
    body = EVAL | {"stream": stream} | fields
    body |= {"stream_options": {"include_usage": True}} if stream else {}
    r = client.post(PATH, json=body)
    assert r.status_code == 200, r.text
    if not stream:
        return r.json()["choices"], r.json()["usage"]
    chunks = events(r.text)
    choices: dict[int, Any] = {}
    for chunk in (c for each in chunks for c in each["choices"]):
        known = choices.setdefault(chunk["index"], {"text": "", "logprobs": None})
        known["text"] += chunk["text"]
        known["finish_reason"] = chunk["finish_reason"]
        if chunk["logprobs"]:
            before = known["logprobs"] or {key: [] for key in chunk["logprobs"]}
            known["logprobs"] = {k: [*before[k], *v] for k, v in chunk["logprobs"].items()}
    return [choices[i] for i in sorted(choices)], chunks[-1]["usage"]


@both_ways
@pytest.mark.parametrize("max_tokens", [0, 1])
@pytest.mark.parametrize("prompt", ["the fjord is", [11, 12, 13]])
def test_lm_evals_request_has_every_tokens_log_probability(
    client: httpx.Client, stream: bool, max_tokens: int, prompt: Any
) -> None:
    [choice], usage = choices_of(client, stream, prompt=prompt, max_tokens=max_tokens)
    told = choice["logprobs"]
    before = ["the", " fjord", " is"] if isinstance(prompt, str) else ["<11>", "<12>", "<13>"]
    own = [" said"][:max_tokens]
    assert told["tokens"] == [*before, *own]
    assert choice["text"] == "".join(told["tokens"])
    assert told["token_logprobs"] == [None, *[-0.1] * (2 + max_tokens)]
    assert told["top_logprobs"][0] is None
    for token, logprob, top in zip(
        told["tokens"][1:], told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True
    ):
        assert top[token] == logprob == max(top.values()), "lm-eval's is_greedy"
    for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert choice["finish_reason"] == "length"
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, max_tokens)


@both_ways
def test_several_prompts_and_choices_each_have_their_own(
    client: httpx.Client, stream: bool
) -> None:
    prompts = [[1, 2], [3], [4, 5, 6]]
    choices, usage = choices_of(client, stream, prompt=prompts, n=2, temperature=1, max_tokens=2)
    assert [c["logprobs"]["tokens"][:-2] for c in choices] == [
        [f"<{i}>" for i in ids] for ids in prompts for _ in range(2)
    ]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (6, 12)
    none, usage = choices_of(client, stream, prompt=prompts, max_tokens=0)
    assert [len(c["logprobs"]["tokens"]) for c in none] == [2, 1, 3]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (6, 0)


@both_ways
def test_an_echo_of_ids_needs_no_logprobs(client: httpx.Client, stream: bool) -> None:
    [choice], _ = choices_of(client, stream, prompt=[7, 8], logprobs=None, max_tokens=2)
    assert (choice["text"], choice["logprobs"]) == ("<7><8> said more", None)
    [choice], usage = choices_of(client, stream, prompt="a b", logprobs=None, max_tokens=0)
    assert (choice["text"], choice["finish_reason"]) == ("a b", "length")
    assert usage["completion_tokens"] == 0


@both_ways
@pytest.mark.parametrize("logprobs", [0, 5, 20])
def test_so_many_likely_ones_are_told(client: httpx.Client, stream: bool, logprobs: int) -> None:
    [choice], _ = choices_of(client, stream, prompt="a b c", logprobs=logprobs)
    assert [len(top) for top in choice["logprobs"]["top_logprobs"][1:]] == [max(1, logprobs)] * 3


@both_ways
def test_what_is_cut_is_what_is_echoed(client: httpx.Client, stream: bool) -> None:
    fields = {"prompt": [1, 2, 3, 4], "truncate_prompt_tokens": 2, "logprobs": None}
    [choice], usage = choices_of(client, stream, **fields)
    assert choice["text"] == "<3><4> said"
    assert usage["prompt_tokens"] == 2


@both_ways
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": 0, "echo": False}, "max_tokens"),
        ({"max_tokens": 0, "echo": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": False}, "max_tokens"),
        ({"max_tokens": "0"}, "max_tokens"),
        ({"max_tokens": 0.5}, "max_tokens"),
        ({"max_tokens": 0, "min_tokens": 1}, "min_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": 1}, "echo"),
        ({"echo": "true"}, "echo"),
    ],
)
def test_what_is_no_echo_is_refused(
    client: httpx.Client, stream: bool, fields: dict[str, Any], field: str
) -> None:
    r = client.post(PATH, json=EVAL | {"prompt": "a", "stream": stream} | fields)
    assert_error(r, 400, "INVALID_PARAMETER", field)


def test_a_chat_says_a_token_at_least(client: httpx.Client) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 0}
    r = client.post("/v1/chat/completions", json=body)
    assert_error(r, 400, "INVALID_PARAMETER", "max_tokens")


def test_reading_alone_is_billed_as_input(served: Served, client: httpx.Client) -> None:
    choices_of(client, False, prompt="a b c d", max_tokens=0)
    record = read_records(served.data_dir)[-1]
    assert (record["prompt_tokens"], record["completion_tokens"]) == (4, 0)
    assert record["finish_reason"] == record["end"] == "length"


def test_what_a_tokenizer_puts_before_a_text_has_no_place_in_it() -> None:
    tokens = [TokenLogprob(t, -1.0, tuple(t.encode())) for t in ("<s>", " the", " fjord")]
    for text, offsets in ((" the fjord", [0, 0, 4]), ("the fjord", [0, 0, 3]), ("", [0, 3, 7])):
        echo = Echo(text, is_told=True)
        assert echo.told(tokens) == (text or "<s> the fjord")
        assert echo.logprobs(tokens)["text_offset"] == offsets


def test_parts_of_a_character_begin_where_it_does() -> None:
    def token(text: str, raw: bytes) -> TokenLogprob:
        return TokenLogprob(text, -1.0, tuple(raw))

    tokens = [token("a", b"a"), token("\\xc3", b"\xc3"), token("\\xb8", b"\xb8"), token("b", b"b")]
    assert prompt_text(tokens) == "aøb"
    assert prompt_body(tokens)["text_offset"] == [0, 1, 1, 2]
    assert prompt_body(())["tokens"] == []
