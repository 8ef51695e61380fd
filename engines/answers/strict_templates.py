"""A conversation as strict chat templates take it: what they refuse or leave out, said otherwise.
Knows no engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from engines.answers.system_messages import all_first

Message = Mapping[str, Any]
_Prompt = TypeVar("_Prompt")
_LATER = "a later system message"
LATER_SYSTEM: Sequence[Message] = (
    {"role": "user", "content": "One."},
    {"role": "assistant", "content": "Two."},
    {"role": "system", "content": _LATER},
    {"role": "user", "content": "Three."},
)
"""A chat whose prompt tells whether a template leaves later system messages out."""


def leaves_out_later_system(render: Callable[[Sequence[Message]], str]) -> bool:
    """`render`: messages -> the prompt's text. One that refuses them leaves nothing out."""
    try:
        return _LATER not in render(LATER_SYSTEM)
    except Exception:
        return False


def first_accepted(
    render: Callable[[Sequence[Message]], _Prompt], messages: Sequence[Message]
) -> _Prompt:
    """The prompt of the first form of `messages` that the template takes. Raises what it said of
    them as they are."""
    complaint: Exception | None = None
    for form in _forms([dict(message) for message in messages]):
        try:
            return render(form)
        except Exception as error:
            complaint = complaint or error
    assert complaint is not None
    raise complaint


def _forms(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield messages
    moved = all_first(messages)
    if moved is not None:
        yield moved
    if apart := one_call_each(messages):
        yield apart
        if moved is not None:
            yield one_call_each(moved) or moved


def one_call_each(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Calls that one message made together, each followed by its result, for a template that takes
    one call a message. None where no message makes several."""
    if all(len(message.get("tool_calls") or ()) < 2 for message in messages):
        return None
    apart: list[dict[str, Any]] = []
    rest = list(messages)
    while rest:
        message = rest.pop(0)
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            apart.append(message)
            continue
        results = []
        while rest and rest[0]["role"] == "tool":
            results.append(rest.pop(0))
        apart += _apart(message, results)
    return apart


def _apart(message: dict[str, Any], results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first call keeps the message's words; results of no call come last."""
    for place, call in enumerate(message["tool_calls"]):
        words = {} if place == 0 else {"content": ""}
        yield {**message, **words, "tool_calls": [call]}
        own = next((r for r in results if r.get("tool_call_id") == call["id"]), None)
        if own is not None:
            results.remove(own)
            yield own
    yield from results
