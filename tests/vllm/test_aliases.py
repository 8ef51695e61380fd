"""Every shipped alias on real vLLM: a tiny seeded model of its architecture, served by its own
entry of the registry (parser, reasoning, template, arguments).

Such a model says nothing sensible, so a form of one choice makes it say what the real one would:
each token still comes from the engine, and is read as it comes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from engines.base import Engine
from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from tests.support.alias_models import ALIASES, tiny_models, tokenizer_of
from tests.support.paths import ROOT
from tests.support.serving import Served, serving
from tests.support.tool_forms import CALLS, FORMS, SAYS, WORDLESS
from tests.support.wire_checks import assert_error, events

MODELS: tuple[tuple[str, ...], ...] = (
    ("mixtral-8x7b",),
    ("qwen3-80b-thinking", "qwen3-80b-instruct"),
    ("qwen3-235b-thinking", "qwen3-235b-instruct"),
    ("qwen3-coder-480b",),
    ("deepseek-r1", "deepseek-v3"),
    ("kimi-k2",),
    ("llama-3.1-405b",),
    ("qwen3-vl-8b",),
    ("llamaguard-4",),
)
"""One engine each, with the arguments of the first. The last two as their text part, Qwen3's and
Llama 4's: with their eyes they need torchvision, of which there is no build for a CPU's torch."""
THINKING = {alias for alias in ALIASES if alias.endswith(("-thinking", "-r1"))}
TOOLLESS = {"llamaguard-4"}
PARSERS = {
    "mixtral-8x7b": "hermes",  # in words: its template has no place for tools
    "qwen3-coder-480b": "qwen3_coder",
    "deepseek-v3": "deepseek_v3",
    "deepseek-r1": "deepseek_v3",
    "kimi-k2": "kimi_k2",
    "llama-3.1-405b": "llama3_json",
}
"""The form of calls of each; hermes where it is not said."""
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Oslo", "Bergen"]},
                "days": {"type": "integer", "enum": [1, 2, 3]},
            },
            "required": ["city", "days"],
        },
    },
}
QUESTION = {"role": "user", "content": "Oslo?"}
pytestmark = pytest.mark.vllm
in_groups = [alias for group in MODELS for alias in group]
with_tools = [alias for alias in in_groups if alias not in TOOLLESS]


@dataclass
class Alias:
    """One alias of a running server."""

    name: str
    client: httpx.Client

    @property
    def parser(self) -> str:
        return PARSERS.get(self.name, "hermes")

    def post(self, **fields: Any) -> httpx.Response:
        known = {"model": self.name, "messages": [QUESTION], "temperature": 0, "max_tokens": 400}
        return self.client.post("/v1/chat/completions", json=known | fields)

    def whole(self, **fields: Any) -> dict[str, Any]:
        """The first choice, its message's members beside it; and usage."""
        response = self.post(**fields)
        assert response.status_code == 200, response.text
        body = response.json()
        choice = body["choices"][0]
        return _of(choice["message"]) | {
            "finish_reason": choice["finish_reason"],
            "usage": body["usage"],
            "tokens": (choice.get("logprobs") or {}).get("content"),
        }

    def streamed(self, **fields: Any) -> dict[str, Any]:
        """The same, put together from a stream."""
        response = self.post(stream=True, stream_options={"include_usage": True}, **fields)
        assert response.status_code == 200, response.text
        return _folded(events(response.text))

    def prompt(self, messages: list[Any], **fields: Any) -> str:
        """What the model reads."""
        body = {"model": self.name, "messages": messages} | fields
        response = self.client.post("/v1/tokenize", json=body)
        assert response.status_code == 200, response.text
        tokenizer: Tokenizer = tokenizer_of(self.name)
        text: str = tokenizer.decode(response.json()["tokens"], skip_special_tokens=False)
        return text


def _of(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls") or []
    return {
        "content": message.get("content") or "",
        "thought": message.get("reasoning_content") or "",
        "calls": [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
        "ids": [call["id"] for call in calls],
    }


def _folded(chunks: list[Any]) -> dict[str, Any]:
    content, thought, finish, usage = "", "", None, None
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            content += delta.get("content") or ""
            thought += delta.get("reasoning_content") or ""
            finish = choice["finish_reason"] or finish
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(piece["index"], {"arguments": ""} | piece["function"])
                if "id" in piece:
                    call |= {"id": piece["id"], "arguments": ""}
                call["arguments"] += piece["function"].get("arguments") or ""
    message = {
        "content": content,
        "reasoning_content": thought,
        "tool_calls": [{"id": call["id"], "function": call} for call in calls.values()],
    }
    return _of(message) | {"finish_reason": finish, "usage": usage}


class Running:
    """The server of one model at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._group: tuple[str, ...] = ()
        self._context: Any = None
        self._served: Served | None = None

    def serve(self, alias: str) -> Served:
        group = next(group for group in MODELS if alias in group)
        if self._served is None or self._group != group:
            self.stop()
            models = tiny_models(self._folder / group[0], *group)
            self._context = serving(self._folder / f"{group[0]}-data", *models, build=_built)
            self._served, self._group = self._context.__enter__(), group
        return self._served

    def stop(self) -> None:
        context, self._context, self._served = self._context, None, None
        if context is not None:
            context.__exit__(None, None, None)


def _built(spec: EngineSpec) -> Engine:
    from engines.vllm.engine import VllmEngine

    engine: Engine = VllmEngine(spec, spec.source)
    return engine


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    servers = Running(tmp_path_factory.mktemp("aliases"))
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def alias(request: pytest.FixtureRequest, running: Running) -> Iterator[Alias]:
    served = running.serve(request.param)
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=240) as client:
        yield Alias(request.param, client)


on_every_alias = pytest.mark.parametrize("alias", in_groups, indirect=True, scope="module")
on_those_with_tools = pytest.mark.parametrize("alias", with_tools, indirect=True, scope="module")


def said(alias: Alias, text: str) -> dict[str, Any]:
    """Fields under which it says this, after a thought where it thinks; marks as the single tokens
    that they are."""
    fields = {"structured_outputs": {"choice": [text]}, "logit_bias": drawn(alias)}
    return fields | thought(alias)


def drawn(alias: Alias, *others: str) -> dict[str, int]:
    """A bias under which nothing but its calls' marks and these is drawn, where all is allowed."""
    tokenizer: Tokenizer = tokenizer_of(alias.name)
    marks = [mark for mark in ALIASES[alias.name].marks if "think" not in mark]
    return {str(tokenizer.token_to_id(text)): 100 for text in (*marks, *others)}


def thought(alias: Alias) -> dict[str, Any]:
    """Fields under which it thinks of calls' marks alone. deepseek-r1 opens its thoughts by itself,
    so that no budget can be counted: there one of what it draws from ends the thought."""
    if alias.name not in THINKING:
        return {}
    if not alias.name.endswith("-r1"):
        return {"thinking_token_budget": 6, "logit_bias": drawn(alias)}
    return {"logit_bias": drawn(alias, "</think>", "a"), "temperature": 2.0, "seed": 1}


def has_thought(alias: Alias, answer: dict[str, Any]) -> bool:
    """Whether it thought as its entry says it does; an end mark alone counts."""
    details: dict[str, int] = answer["usage"].get("completion_tokens_details") or {}
    counted = details.get("reasoning_tokens", 0)
    is_told = bool(answer["thought"]) == (counted > 1)
    return is_told and (counted > 0) == (alias.name in THINKING)


def test_every_shipped_alias_is_proven_here() -> None:
    shipped = load_registry(ROOT / "model_registry.yaml", "cuda").models
    assert set(in_groups) == ALIASES.keys() == shipped.keys()
    assert {a for a, model in shipped.items() if model.reasoning} == THINKING
    assert {a for a, model in shipped.items() if model.call_parser is None} == TOOLLESS
    named = {a: model.tool_parser or "hermes" for a, model in shipped.items() if a not in TOOLLESS}
    assert named == {alias: PARSERS.get(alias, "hermes") for alias in with_tools}


@on_every_alias
def test_a_chat_is_the_same_whole_and_streamed(alias: Alias) -> None:
    free = alias.whole(max_tokens=24, ignore_eos=True)
    assert (free["finish_reason"], free["usage"]["completion_tokens"]) == ("length", 24)
    text = "It rains 🌧 in Tromsø;\n\n  <b>bring</b> `boots`."
    whole, streamed = (ask(**said(alias, text)) for ask in (alias.whole, alias.streamed))
    for answer in (whole, streamed):
        assert (answer["content"], answer["finish_reason"], answer["calls"]) == (text, "stop", [])
        assert has_thought(alias, answer)
    assert whole["usage"]["prompt_tokens"] == streamed["usage"]["prompt_tokens"]


@on_every_alias
def test_each_token_of_a_chat_is_counted_once(alias: Alias) -> None:
    """Whichever tokens a text is put together from: those of the thought are not in logprobs."""
    text = "It rains 🌧 in Tromsø;\n\n  <b>bring</b> `boots`."
    answer = alias.whole(**said(alias, text), logprobs=True)
    details = answer["usage"].get("completion_tokens_details") or {}
    counted = details.get("reasoning_tokens", 0) + len(answer["tokens"])
    assert answer["usage"]["completion_tokens"] == counted
    spelled = b"".join(bytes(token["bytes"]) for token in answer["tokens"]).decode()
    assert spelled.strip().removesuffix(ALIASES[alias.name].eos) == text


@on_every_alias
def test_an_answer_has_the_form_that_is_asked_for(alias: Alias) -> None:
    schema = WEATHER["function"]["parameters"]
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": schema, "strict": True}}
    for ask in (alias.whole, alias.streamed):
        answer = ask(response_format=form, **thought(alias))
        assert json.loads(answer["content"]).keys() == {"city", "days"}
        assert answer["finish_reason"] == "stop"
        assert has_thought(alias, answer)


@on_those_with_tools
@pytest.mark.parametrize("choice", ["named", "required"])
def test_a_call_that_must_be_made_is_made(alias: Alias, choice: str) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    asked: Any = {"tools": [WEATHER], "tool_choice": named if choice == "named" else choice}
    for ask in (alias.whole, alias.streamed):
        answer = ask(**asked, parallel_tool_calls=False, **thought(alias))
        [(name, arguments)] = answer["calls"]
        assert (name, arguments.keys()) == ("weather", {"city", "days"})
        assert (answer["finish_reason"], answer["content"]) == ("tool_calls", "")
        assert has_thought(alias, answer)
        if alias.parser == "kimi_k2":
            assert answer["ids"] == ["functions.weather:0"]


@on_those_with_tools
def test_calls_of_its_own_are_read_in_its_own_form(alias: Alias) -> None:
    asked = {"tools": [WEATHER]} | said(alias, FORMS[alias.parser](CALLS))
    for ask in (alias.whole, alias.streamed):
        answer = ask(**asked)
        assert answer["calls"] == [("weather", call) for call in CALLS]
        words = "" if alias.parser in WORDLESS else SAYS.rstrip("\n")
        assert answer["content"].rstrip("\n") == words
        assert answer["finish_reason"] == "tool_calls"
        assert has_thought(alias, answer)
        assert len(set(answer["ids"])) == 2
    single = alias.streamed(**asked, parallel_tool_calls=False)
    assert single["calls"] == [("weather", CALLS[0])]


def talk(call_ids: list[str], content: str | None) -> list[Any]:
    calls = [
        {
            "id": id,
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city, "days": 1})},
        }
        for id, city in zip(call_ids, ("Tromso", "Bodo"), strict=False)
    ]
    results = [
        {"role": "tool", "tool_call_id": id, "content": text}
        for id, text in zip(call_ids, ("snow falls", "sun shines"), strict=False)
    ]
    return [QUESTION, {"role": "assistant", "content": content, "tool_calls": calls}, *results]


@on_those_with_tools
@pytest.mark.parametrize("content", [None, "I look."])
@pytest.mark.parametrize("ids", [("functions.weather:0", "functions.weather:1"), ("call_x", "y")])
@pytest.mark.parametrize("offered", [True, False], ids=["with tools", "without tools"])
def test_calls_and_their_results_are_read_in_the_next_turn(
    alias: Alias, content: str | None, ids: tuple[str, ...], offered: bool
) -> None:
    """Also where another model made the calls, and where the request brings no tools."""
    tools = {"tools": [WEATHER]} if offered else {}
    read = alias.prompt(talk(list(ids), content), **tools)
    parts = ("Tromso", "Bodo", "snow falls", "sun shines")
    assert all(part in read for part in parts)
    assert read.count("Tromso") == read.count("snow falls") == 1
    if alias.parser == "kimi_k2":
        assert read.count("functions.weather:0") == read.count("functions.weather:1") == 2
        assert "call_x" not in read
    later = [*talk(list(ids), content), {"role": "assistant", "content": "Cold."}, QUESTION]
    assert all(part in alias.prompt(later, **tools) for part in (*parts, "Cold."))


@on_those_with_tools
def test_a_turn_after_results_is_answered(alias: Alias) -> None:
    asked: Any = {"messages": talk(["a", "b"], None), "tools": [WEATHER]}
    for ask in (alias.whole, alias.streamed):
        answer = ask(**asked, **said(alias, "Take boots."))
        assert (answer["content"], answer["finish_reason"]) == ("Take boots.", "stop")
        assert has_thought(alias, answer)
    if alias.parser == "kimi_k2":
        more = alias.whole(**asked, tool_choice="required", parallel_tool_calls=False)
        assert more["ids"] == ["functions.weather:2"]


@on_every_alias
def test_a_later_system_message_is_read(alias: Alias) -> None:
    turns = [QUESTION, {"role": "assistant", "content": "Rain."}]
    first, later = ({"role": "system", "content": text} for text in ("Be brief.", "Be kind."))
    for messages in ([*turns, later, QUESTION], [first, *turns, later, QUESTION]):
        read = alias.prompt(messages)
        assert all(message["content"] in read for message in messages)


@pytest.mark.parametrize("alias", sorted(TOOLLESS), indirect=True, scope="module")
def test_an_alias_without_tools_says_so(alias: Alias) -> None:
    assert "weather" not in alias.prompt([QUESTION], tools=[WEATHER])
    refused = alias.post(tools=[WEATHER], tool_choice="required")
    assert_error(refused, 400, "INVALID_PARAMETER", "tool_choice")
