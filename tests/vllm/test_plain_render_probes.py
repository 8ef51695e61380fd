"""Whether a model's prompts are rendered plainly at all: not if one probe comes out differently."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.testing.tiny import TEMPLATE
from engines.vllm.plain_render import PROBES, TEXTS, plain_renderer, rust_tokenizer
from engines.vllm.render import Renderer
from tests.support import plain_renderers
from tests.support.plain_renderers import ANSWER, HI, Counting, byte_ids, chat, tiny

OF_PARTS = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}<|end|>\n{% endfor %}" + ANSWER
)

pytestmark = pytest.mark.vllm
plain, tiny_renderer = plain_renderers.plain, plain_renderers.tiny_renderer


def test_a_template_of_parts_goes_vllms_way(tmp_path: Path) -> None:
    llm = tiny(tmp_path, OF_PARTS)
    theirs = Renderer(llm)
    made = plain_renderer(
        llm.tokenizer,
        True,
        lambda messages: theirs._vllm_chat(messages, {}),
        lambda text: theirs._vllm_prompts([text])[0],
    )
    assert made is None
    renderer = Counting(llm)
    assert not renderer.is_plain
    rendered = chat(renderer, [HI])
    assert len(renderer.by_vllm) == 1
    read = rust_tokenizer(llm.tokenizer).decode(rendered["prompt_token_ids"])
    assert read == f"user\n{HI['content']}\nassistant\n"
    assert [p["prompt_token_ids"] for p in renderer.prompts(["Hi", [1]])] == [byte_ids("Hi"), [1]]


@pytest.mark.parametrize("wrong", ["a chat", "a text", "a member"])
def test_one_probe_that_differs_is_enough(tiny_renderer: Counting, wrong: str) -> None:
    """Each is asked, to the last one."""

    def vllm_chat(messages: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
        rendered = dict(tiny_renderer.vllms_chat([dict(m) for m in messages]))
        last = [(m["role"], m["content"]) for m in messages] == list(PROBES[-1])
        if last and wrong == "a chat":
            rendered["prompt_token_ids"] = rendered["prompt_token_ids"][:-1]
        return rendered | ({"cache_salt": "x"} if last and wrong == "a member" else {})

    def vllm_text(text: str) -> Mapping[str, Any]:
        [rendered] = tiny_renderer.vllms_texts([text])
        if text == TEXTS[-1] and wrong == "a text":
            rendered["prompt_token_ids"] = [257, *rendered["prompt_token_ids"]]
        made: Mapping[str, Any] = rendered
        return made

    tokenizer = tiny_renderer.llm.tokenizer
    assert plain_renderer(tokenizer, True, vllm_chat, vllm_text) is None


def test_no_rust_tokenizer_or_no_template_is_not_plain(tiny_renderer: Counting) -> None:
    def never(_: Any) -> Mapping[str, Any]:
        raise AssertionError("asked for nothing")

    assert plain_renderer(None, True, never, never) is None
    assert plain_renderer(SimpleNamespace(chat_template=TEMPLATE), True, never, never) is None
    inside = SimpleNamespace(
        backend_tokenizer=rust_tokenizer(tiny_renderer.llm.tokenizer), chat_template=None
    )
    assert plain_renderer(inside, True, never, never) is None
