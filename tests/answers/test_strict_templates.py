"""What a strict template refuses is said otherwise, and only then."""

from collections.abc import Sequence
from typing import Any

import pytest

from engines.answers.strict_templates import (
    LATER_SYSTEM,
    first_accepted,
    leaves_out_later_system,
    one_call_each,
)

USER, LATER = {"role": "user", "content": "Oslo?"}, {"role": "system", "content": "Be kind."}


def called(content: str | None, *ids: str) -> dict[str, Any]:
    calls = [{"id": id, "function": {"name": "f"}} for id in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "content": call_id.upper(), "tool_call_id": call_id}


TOGETHER = [USER, called("I look.", "a", "b"), result("b"), result("a"), USER]
APART = [USER, called("I look.", "a"), result("a"), called("", "b"), result("b"), USER]


def test_calls_made_together_are_each_followed_by_their_result() -> None:
    assert one_call_each(TOGETHER) == APART
    assert one_call_each(APART) is None
    assert one_call_each([USER, called(None)]) is None


def test_nothing_is_lost_where_results_are_missing_or_of_no_call() -> None:
    assert one_call_each([called(None, "a", "b")]) == [called(None, "a"), called("", "b")]
    left = [called("", "a", "b"), result("z"), result("b")]
    assert one_call_each(left) == [called("", "a"), called("", "b"), result("b"), result("z")]


def test_calls_of_one_id_have_a_result_each_in_order() -> None:
    other = {**result("a"), "content": "other"}
    found = one_call_each([called("", "a", "a"), result("a"), other])
    assert found == [called("", "a"), result("a"), called("", "a"), other]


def refuses(*what: str) -> Any:
    def render(messages: Sequence[Any]) -> str:
        if "calls" in what and any(len(m.get("tool_calls") or ()) > 1 for m in messages):
            raise ValueError("one call a message")
        if "system" in what and any(m["role"] == "system" for m in messages[1:]):
            raise ValueError("system first")
        return " ".join(f"{m['role']}:{len(m.get('tool_calls') or ())}" for m in messages)

    return render


@pytest.mark.parametrize(
    ("refused", "shown"),
    [
        ((), "user:0 assistant:2 tool:0 tool:0 user:0 system:0"),
        (("calls",), "user:0 assistant:1 tool:0 assistant:1 tool:0 user:0 system:0"),
        (("system",), "system:0 user:0 assistant:2 tool:0 tool:0 user:0"),
        (("calls", "system"), "system:0 user:0 assistant:1 tool:0 assistant:1 tool:0 user:0"),
    ],
)
def test_a_template_is_given_the_first_form_that_it_takes(
    refused: tuple[str, ...], shown: str
) -> None:
    assert first_accepted(refuses(*refused), [*TOGETHER, LATER]) == shown


def test_its_complaint_is_of_the_messages_as_they_came() -> None:
    def render(messages: Sequence[Any]) -> str:
        raise ValueError(str(messages == [*TOGETHER, LATER]))

    with pytest.raises(ValueError, match="True"):
        first_accepted(render, [*TOGETHER, LATER])


def test_a_template_that_leaves_out_later_system_messages_is_found() -> None:
    def all_of(messages: Sequence[Any]) -> str:
        return " ".join(m["content"] for m in messages)

    assert not leaves_out_later_system(all_of)
    assert leaves_out_later_system(lambda ms: all_of([m for m in ms if m["role"] != "system"]))
    assert not leaves_out_later_system(refuses("system"))  # it says so by itself
    assert LATER_SYSTEM[0]["role"] == "user"
