"""System messages as strict templates want them."""

from typing import Any

from engines.answers.system_messages import all_first, leading_as_one


def of(*said: str) -> list[dict[str, Any]]:
    """'s:text' is a system message, 'u:' a user's, 'a:' an assistant's."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[s[0]], "content": s[2:]} for s in said]


def test_those_at_the_beginning_become_one() -> None:
    assert leading_as_one(of("s:a", "s:b", "u:c", "s:d")) == of("s:a\n\nb", "u:c", "s:d")
    for same in (of("s:a", "u:b"), of("u:a", "s:b"), of("u:a"), []):
        assert leading_as_one(same) == same


def test_for_a_strict_template_all_of_them_come_first() -> None:
    assert all_first(of("s:a", "u:b", "s:c", "a:d")) == of("s:a\n\nc", "u:b", "a:d")
    assert all_first(of("u:b", "s:c")) == of("s:c", "u:b")
    assert all_first(of("s:a", "u:b")) is None
    assert all_first(of("u:b", "a:c")) is None
