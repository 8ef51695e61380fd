"""Switches of a chat template: the alias', the effort's, and where they are free the caller's."""

from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from server.api.chat.template_kwargs import RENDERER_NAMES
from server.errors import ApiError
from tests.support.chat_bodies import ASK, asked
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

served = server_of(scripted("fixed", chat_template_kwargs={"enable_thinking": False}))


def test_switches_come_from_alias_then_effort_then_where_it_is_free_from_the_caller() -> None:
    alias: dict[str, Any] = {
        "reasoning": Reasoning(),
        "chat_template_kwargs": {"enable_thinking": True, "style": "a"},
        "free_chat_template_kwargs": ("enable_thinking",),
        "reasoning_efforts": {"none": {"enable_thinking": False}},
    }
    assert asked({}, **alias).chat_template_kwargs == {"enable_thinking": True, "style": "a"}
    off = asked({"reasoning_effort": "none"}, **alias).chat_template_kwargs
    assert off == {"enable_thinking": False, "style": "a"}
    own = {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}
    assert asked(own, **alias).chat_template_kwargs == {"enable_thinking": True, "style": "a"}
    with pytest.raises(ApiError) as e:
        asked({"reasoning_effort": "high"}, **alias)
    assert e.value.param == "reasoning_effort"
    assert e.value.details
    assert e.value.details["expected"] == "none"


def test_the_operators_switches_are_fixed_and_others_are_the_callers() -> None:
    alias: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
    own = {"chat_template_kwargs": {"enable_thinking": False, "style": "b"}}
    assert asked(own, **alias).chat_template_kwargs == {"enable_thinking": False, "style": "b"}
    with pytest.raises(ApiError) as e:
        asked({"chat_template_kwargs": {"enable_thinking": True}}, **alias)
    assert (e.value.status, e.value.param) == (400, "chat_template_kwargs.enable_thinking")


TEMPLATED = {
    "/v1/chat/completions": {"messages": ASK["messages"]},
    "/v1/responses": {"input": "Hi you"},
    "/v1/tokenize": {"messages": ASK["messages"]},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", TEMPLATED)
def test_every_templated_endpoint_holds_the_operators_switches(
    client: httpx.Client, path: str, stream: bool
) -> None:
    streamed = {} if "tokenize" in path else {"stream": stream}
    asked = {"model": "fixed", **TEMPLATED[path], **streamed}
    for switches, field in (
        ({"enable_thinking": True}, "enable_thinking"),
        ({"tools": []}, "tools"),
    ):
        r = client.post(path, json=asked | {"chat_template_kwargs": switches})
        assert_error(r, 400, "INVALID_PARAMETER", f"chat_template_kwargs.{field}")
    free = {"chat_template_kwargs": {"enable_thinking": False, "style": "b"}}
    assert client.post(path, json=asked | free).status_code == 200


@pytest.mark.parametrize("name", sorted(RENDERER_NAMES))
def test_a_renderers_own_names_are_no_switches(name: str) -> None:
    with pytest.raises(ApiError) as e:
        asked({"chat_template_kwargs": {name: "x"}})
    assert (e.value.status, e.value.param) == (400, f"chat_template_kwargs.{name}")
