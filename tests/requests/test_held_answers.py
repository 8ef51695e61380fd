"""An answer that was held to a form is looked at before it is called finished."""

import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import Delta, GenerateRequest, Prompt, Sink, ToolCallDelta
from engines.testing.scripted import ScriptedEngine
from tests.support.serving import Served, read_records, scripted, serving

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "s": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
NAMED = {"type": "function", "function": {"name": "f"}}
# kind: what is asked, a good answer, a bad one (no part of a request's number)
FORMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "json_schema": ({"response_format": JSON_SCHEMA}, '{"n": 1, "s": "é"}', '{"n": "1"}'),
    "json_object": ({"response_format": {"type": "json_object"}}, '{"a": [1.5e3]}', '{"a": '),
    "regex": ({"structured_outputs": {"regex": "[a-c]{2}"}}, "ab", "ax"),
    "choice": ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes", "Yes"),
    "tool_choice": ({"tools": [TOOL], "tool_choice": NAMED}, '{"n": 1}', '{"m": 1}'),
}


class Saying(ScriptedEngine):
    """Says its `text` whatever form is asked for; its middle past the request's task where it
    can."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        is_call = request.tool_choice != "auto"
        for index in range(request.sampling.n):
            yield Delta(index)
            middle = self._middle(str(self.args["text"]), is_call, index)
            if self.args.get("uses_sink") and sink is not None and sink.is_ready():
                sink.take(middle)
                self.generated_tokens += 1
            else:
                yield middle
            yield Delta(index, token_count=1, finish_reason=self.args.get("reason", "stop"))

    def _middle(self, text: str, is_call: bool, index: int) -> Delta:
        if is_call:
            call = ToolCallDelta(0, "call_1", "f", text)
            return Delta(index, token_count=1, tool_calls=(call,))
        return Delta(index, text, 1)


def ask(server: Served, stream: bool, **fields: Any) -> httpx.Response:
    asked = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "go"}]}
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, headers=server.headers, json=asked | fields, timeout=30)


def answer(
    tmp_path: Path, text: str, stream: bool, fields: dict[str, Any], **args: Any
) -> tuple[httpx.Response, dict[str, Any], str]:
    """What the client has, the record, and the metrics."""
    model = scripted("m", text=text, tool_parser="hermes", **args)
    with serving(tmp_path, model, build=Saying) as server:
        response = ask(server, stream, **fields)
        metrics = httpx.get(server.url + "/metrics").text
        if args.get("uses_sink"):
            assert server.engines[0].generated_tokens == 1
    (record,) = read_records(tmp_path)
    return response, record, metrics


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("uses_sink", [False, True])
def test_an_answer_with_its_form_is_finished(
    tmp_path: Path, kind: str, stream: bool, uses_sink: bool
) -> None:
    fields, good, _ = FORMS[kind]
    response, record, metrics = answer(tmp_path, good, stream, fields, uses_sink=uses_sink)
    assert response.status_code == 200, response.text
    assert '"error"' not in response.text
    assert (record["end"], record["amount"] > 0) == ("ok", True)
    assert "fjord_broken_forms_total{" not in metrics


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("uses_sink", [False, True])
def test_a_whole_answer_without_its_form_is_a_500_that_costs_nothing(
    tmp_path: Path, kind: str, uses_sink: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fields, _, bad = FORMS[kind]
    with caplog.at_level(logging.ERROR):
        response, record, metrics = answer(tmp_path, bad, False, fields, uses_sink=uses_sink)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (500, "INTERNAL_ERROR")
    assert f"({kind})" in error["message"]
    assert (record["end"], record["amount"], record["completion_tokens"]) == ("failed", 0, 2)
    assert f'fjord_broken_forms_total{{alias="m",form="{kind}"}} 1.0' in metrics
    assert f"an answer of m ended without the form that was asked for ({kind})" in caplog.text
    assert bad not in caplog.text


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("uses_sink", [False, True])
def test_a_stream_without_its_form_ends_with_an_error(
    tmp_path: Path, kind: str, uses_sink: bool
) -> None:
    fields, _, bad = FORMS[kind]
    response, record, _ = answer(tmp_path, bad, True, fields, uses_sink=uses_sink)
    assert response.status_code == 200
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["error"]["code"] == "INTERNAL_ERROR"
    assert '"finish_reason":"stop"' not in response.text
    assert '"finish_reason":"tool_calls"' not in response.text
    assert (record["end"], record["completion_tokens"]) == ("failed", 2)
    assert record["amount"] > 0


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_cut_need_not_have_its_form(
    tmp_path: Path, kind: str, stream: bool
) -> None:
    fields, _, bad = FORMS[kind]
    response, record, _ = answer(tmp_path, bad, stream, fields, reason="length")
    assert (response.status_code, record["end"]) == (200, "length")
    assert '"finish_reason":"length"' in response.text


def test_a_stop_string_may_cut_a_form(tmp_path: Path) -> None:
    fields, _, bad = FORMS["json_object"]
    response, _, _ = answer(tmp_path, bad, False, {**fields, "stop": ["x"]})
    assert response.json()["choices"][0]["message"]["content"] == bad


def test_one_broken_choice_breaks_the_answer(tmp_path: Path) -> None:
    fields, _, bad = FORMS["json_schema"]
    response, record, _ = answer(tmp_path, bad, False, {**fields, "n": 3})
    assert (response.status_code, record["completion_tokens"]) == (500, 6)


@pytest.mark.parametrize("is_good", [False, True])
def test_a_long_answer_is_looked_at_too(tmp_path: Path, is_good: bool) -> None:
    text = json.dumps({"n": list(range(20_000))} if not is_good else {"n": 1, "s": "x" * 100_000})
    response, _, _ = answer(tmp_path, text, False, FORMS["json_schema"][0])
    assert response.status_code == (200 if is_good else 500)
