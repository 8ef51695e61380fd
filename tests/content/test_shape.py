"""Of a body's words none gets into its shape, whatever the body is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.content.shape import KINDS, NUMBERS, TEXTS, shape_of

WORD = "zqxj"
NAMES = (*NUMBERS, *KINDS, *TEXTS, "messages", "tools", "stop", "response_format", "options", WORD)
INSIDE = st.sampled_from(["role", "content", "type", "text", WORD])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.just(WORD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", WORD]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_no_word_gets_through(body: dict[str, Any]) -> None:
    assert WORD not in json.dumps(shape_of(json.dumps(body).encode()))


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_has_no_shape(body: bytes) -> None:
    assert shape_of(body) == {}


def test_texts_deep_inside_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert shape_of(json.dumps({"input": deep}).encode())["input_characters"] == 0


def test_numbers_that_could_say_something_are_not_told() -> None:
    body = {"seed": 48_151_623, "top_k": 4815162342, "max_tokens": 1e300, "temperature": 0.5}
    assert shape_of(json.dumps(body).encode()) == {"seed": True, "temperature": 0.5}
