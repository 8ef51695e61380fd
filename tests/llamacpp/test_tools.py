"""Tool calls that a model makes by itself, read by the llama.cpp engine without vLLM."""

import json
from typing import Any

import pytest

from engines.base import GenerateRequest, InvalidRequest, Sampling, Tool, ToolCallDelta
from engines.llamacpp.tools import call_reader

WEATHER = Tool(name="get_weather", description="", parameters={"type": "object"})
OSLO = ("get_weather", {"city": "Oslo", "days": 2})
HELLO = ("say", {"text": 'a "quoted" } brace </tool_ and {'})


def request(
    parser: str | None = "hermes",
    choice: str = "auto",
    tools: Any = (WEATHER,),
    is_parallel: bool = True,
) -> Any:
    return GenerateRequest(
        request_id="r",
        messages=[{"role": "user", "content": "x"}],
        sampling=Sampling(max_tokens=9),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        tool_parser=parser,
    )


def hermes(name: str, arguments: Any) -> str:
    """As Qwen 2.5, Qwen 3 and Hermes 2 Pro are trained to write it."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def read(
    said: str, parser: str, size: int, is_parallel: bool = True
) -> tuple[str, list[tuple[str | None, Any]]]:
    """The content and the calls of a text that came in pieces of `size` characters."""
    reader = call_reader(request(parser, is_parallel=is_parallel))
    assert reader is not None
    content, calls = "", list[ToolCallDelta]()
    pieces = [said[i : i + size] for i in range(0, len(said), size)]
    for piece in pieces:
        text, found = reader.feed(piece, False)
        content, calls = content + text, [*calls, *found]
    text, found = reader.feed("", True)
    calls += found
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    return content + text, [(call.name, json.loads(call.arguments)) for call in calls]


SAID = [
    pytest.param("hermes", hermes(*OSLO), "", [OSLO], id="one"),
    pytest.param("hermes", "I look.\n" + hermes(*OSLO), "I look.", [OSLO], id="words before"),
    pytest.param(
        "hermes", hermes(*OSLO) + "\n" + hermes(*HELLO), "", [OSLO, HELLO], id="two with marks"
    ),
    pytest.param("hermes", hermes(*OSLO)[:-12], "", [OSLO], id="cut before its end mark"),
    pytest.param("hermes", "1 < 2, <tool", "1 < 2, <tool", [], id="the beginning of a mark"),
    pytest.param(
        "hermes",
        "<tool_call>\nnot JSON\n</tool_call>",
        "<tool_call>\nnot JSON\n</tool_call>",
        [],
        id="no call at all",
    ),
    pytest.param("hermes", "Oslo is fine. 👩‍👩‍👧", "Oslo is fine. 👩‍👩‍👧", [], id="plain words"),
    pytest.param(
        "llama3_json",
        '{"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}}',
        "",
        [OSLO],
        id="llama 3.1",
    ),
    pytest.param(
        "llama3_json",
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}}',
        "",
        [OSLO],
        id="llama 3.1 with its tag",
    ),
    pytest.param(
        "llama3_json",
        '{"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}}; '
        '{"name": "say", "parameters": {"text": "a \\"quoted\\" } brace </tool_ and {"}}',
        "",
        [OSLO, HELLO],
        id="llama 3.1 two",
    ),
    pytest.param("llama3_json", '{"a": 1}', '{"a": 1}', [], id="llama 3.1 other JSON"),
    pytest.param("llama3_json", "Oslo.\n\nYes.", "Oslo.\n\nYes.", [], id="llama 3.1 plain words"),
]


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(("parser", "said", "content", "calls"), SAID)
def test_calls_are_read_from_what_models_write_however_it_is_cut(
    parser: str, said: str, content: str, calls: list[Any], size: int
) -> None:
    assert read(said, parser, size) == (content, calls)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("parser", ["hermes", "llama3_json"])
def test_without_parallel_calls_the_first_alone_goes_out(parser: str, size: int) -> None:
    two = hermes(*OSLO) + "\n" + hermes(*HELLO)
    if parser == "llama3_json":
        two = "; ".join(json.dumps({"name": n, "parameters": p}) for n, p in (OSLO, HELLO))
    assert read(two, parser, size, is_parallel=False) == ("", [OSLO])


@pytest.mark.parametrize("call", ['{"name": "f"}', '{"name": "f", "arguments": null}',
                                  '{"name": "f", "arguments": ""}'])  # fmt: skip
def test_a_call_without_arguments_has_an_empty_object(call: str) -> None:
    assert read(f"<tool_call>{call}</tool_call>", "hermes", 1000) == ("", [("f", {})])


def test_what_is_nested_too_deeply_is_no_call() -> None:
    deep = "<tool_call>" + "[" * 50_000 + "</tool_call>"
    assert read(deep, "hermes", 10_000) == (deep, [])


@pytest.mark.parametrize(
    "asked",
    [request(None), request(tools=()), request(choice="none"), request(choice="required")],
)
def test_without_tools_on_offer_nothing_is_read(asked: GenerateRequest) -> None:
    assert call_reader(asked) is None


def test_a_parser_that_only_vllm_has_is_refused_with_what_would_work() -> None:
    with pytest.raises(InvalidRequest, match=r"mistral.*hermes, llama3_json.*required") as caught:
        call_reader(request("mistral"))
    assert caught.value.param == "tool_choice"
