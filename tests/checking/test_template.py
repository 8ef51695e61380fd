"""Chat templates tried: what they refuse, leave out, or never end; and where turns end."""

import time
from pathlib import Path
from typing import Any

import pytest

from engines.answers.model_tools import ModelTools
from engines.base import FOUND
from engines.checking.chats import PLAIN, QUESTION, UNSEEN, WITH_TOOLS
from engines.checking.folder import read_folder
from engines.checking.model_files import ModelFiles, StopIds, StoredVocabulary
from engines.checking.rendering import Rendered, TemplateTrial, try_template
from engines.checking.stops import counted_ids, stop_findings
from engines.checking.template import template_findings
from tests.support.checked_models import by_id, changed, tiny

TURN = "<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n"
LOOP = "{% for message in messages %}" + TURN + "{% endfor %}"
OPENED = LOOP + "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"


def tried(files: ModelFiles, parser: str | None = FOUND, **how: Any) -> TemplateTrial:
    ids = files.vocabulary.ids if files.vocabulary else {}
    return try_template(files, ModelTools(files.template, lambda t: t in ids), {}, parser, **how)


def findings(template: object, kind: Any = "folder") -> Any:
    files = ModelFiles(kind=kind, template=template)  # type: ignore[arg-type]
    return by_id(list(template_findings(tried(files))))


def test_an_ordinary_template_renders_every_chat() -> None:
    told = findings(OPENED)
    chats = {f"template.{chat.id}" for chat in (*PLAIN, *WITH_TOOLS) if chat not in UNSEEN}
    assert told.keys() == {*chats, "template.parts", "template.opening"}
    assert {verdict for verdict, _ in told.values()} == {"ok"}
    assert told["template.opening"][1] == r"an answer opens with '<|start|>assistant\n'"


def test_system_messages_that_are_not_first_are_put_there() -> None:
    strict = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    strict += "{{ raise_exception('System first') }}{% endif %}{{ m.content }}|{% endfor %}"
    told = findings(strict)
    assert told["template.later_system"] == ("ok", "a later system message, put first")
    assert told["template.systems"] == ("ok", "several system messages")


def test_a_chat_of_tools_or_system_messages_that_is_refused_is_a_note() -> None:
    told = findings(
        "{% for m in messages %}{% if m.role in ('system', 'tool') %}"
        "{{ raise_exception('No ' + m.role + ' here') }}{% endif %}{{ m.content }}|{% endfor %}"
        "{% if tools %}{% endif %}{% if messages[0].tool_calls %}{% endif %}"
        "{# <tool_call> #}"
    )
    verdict, text = told["template.system"]
    refused = "a system message: the template refuses it: No system here"
    assert (verdict, text) == ("note", f"{refused}; chats without one work")
    assert told["template.systems"][0] == told["template.later_system"][0] == "note"
    assert told["template.user"][0] == told["template.assistant"][0] == "ok"
    assert told["template.tool_result"][0] == "note"
    assert told["template.tool_result"][1].endswith("No tool here")
    assert told["template.tools"] == (
        "note",
        "tools on offer: the template leaves out 'get_weather'",
    )


def test_an_answer_in_the_history_that_is_refused_fails() -> None:
    strict = "{% for m in messages %}{% if m.role == 'assistant' %}"
    strict += "{{ raise_exception('Once') }}{% endif %}{{ m.content }}|{% endfor %}"
    told = findings(strict)
    assert told["template.assistant"] == (
        "fail",
        "an assistant's answer: the template refuses it: Once",
    )
    assert told["template.system"][0] == "ok"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}", "line 1: Unexpected end of template"),
        ("{{ 'x' * 9000000000 }}", "more than 1 GiB of memory"),
        ("{{ raise_exception('a' * 5000) }}", "aaa…"),
        ("{{ messages[0].content.nothing.at_all }}", "no attribute 'nothing'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_template_that_renders_nothing_is_one_line(template: str, words: str) -> None:
    told = findings(template)
    assert [*told] == ["template"]
    assert told["template"][0] == "fail"
    assert words in told["template"][1]
    assert len(told["template"][1]) < 250


def test_a_template_that_never_ends_is_ended() -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    endless += "{% endfor %}" * 3
    began = time.monotonic()
    trial = tried(ModelFiles(kind="folder", template=endless), longest_s=0.5)
    assert trial.broken == "a user's message: no end within 0.5 s"
    assert time.monotonic() - began < 15
    [told] = template_findings(trial)
    assert told.verdict == "fail"


def test_no_template_says_so() -> None:
    assert findings(None) == {
        "template": ("fail", "there is no chat template: no chat can be answered")
    }


def test_of_several_templates_the_one_for_tools_renders_tools() -> None:
    named = {"default": OPENED, "tool_use": f"{OPENED}{{{{ tools }}}} tool_calls"}
    files = ModelFiles(kind="folder", template=named)
    trial = tried(files)
    assert "get_weather" not in (trial.text(PLAIN[0]) or "")
    assert files.template_for(True) == named["tool_use"]
    assert ModelFiles(kind="folder", template={"tool_use": "x"}).template_for(False) is None


def test_a_template_that_reads_parts_alone_gets_them() -> None:
    parts = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}|{% endfor %}"
    assert findings(parts)["template.user"] == ("ok", "a user's message")
    assert findings(parts)["template.parts"][1].startswith("content in parts, and no other")
    assert findings(parts, "gguf") == findings(parts)


def test_a_prompt_that_opens_no_answer_is_noted() -> None:
    bare = "{% for m in messages %}{{ m.content }}{% if not loop.last %}|{% endif %}{% endfor %}"
    assert findings(bare)["template.opening"][0] == "note"
    closing = findings("{% for m in messages %}{{ m.content }}[/INST]{% endfor %}")
    assert closing["template.opening"] == (
        "ok",
        "the user's turn ends with '[/INST]', which opens the answer",
    )


def test_without_tools_none_are_tried() -> None:
    trial = tried(ModelFiles(kind="folder", template=OPENED), parser=None)
    assert {"tools", "tool_call"}.isdisjoint(trial.rendered)
    assert QUESTION in (trial.text(PLAIN[0]) or "")


def stops(folder: Path) -> Any:
    files = read_folder(folder)
    return by_id(list(stop_findings(files, tried(files, None))))


def test_the_tiny_models_answers_end(tmp_path: Path) -> None:
    assert stops(tiny(tmp_path)) == {
        "stop.tokens": ("ok", "answers end at <|end|>"),
        "stop.turn": ("ok", "the template ends a turn with <|end|>"),
    }


def test_a_turn_that_ends_with_another_token_fails(tmp_path: Path) -> None:
    told = stops(tiny(tmp_path, OPENED.replace("<|end|>", "<|pad|>")))
    assert told["stop.turn"] == (
        "fail",
        "the template ends a turn with <|pad|>, at which no answer stops: answers would not end",
    )


def test_the_next_turns_beginning_ends_one_too(tmp_path: Path) -> None:
    model = tiny(tmp_path, OPENED.replace("<|end|>", ""))
    assert stops(model)["stop.turn"][0] == "fail"
    changed(model, "generation_config.json", eos_token_id=[256, 257])
    assert stops(model)["stop.turn"] == ("ok", "the template ends a turn with <|start|>")


def test_a_last_turn_may_end_otherwise(tmp_path: Path) -> None:
    last = "{% if loop.last and not add_generation_prompt %}<|end|>{% else %}<|pad|>{% endif %}"
    told = stops(tiny(tmp_path, OPENED.replace("<|end|>", last)))
    assert told["stop.turn"] == ("ok", "the template ends a turn with <|end|>")


def test_white_space_ends_no_turn() -> None:
    ids = {"\n": 0, "</s>": 1}
    files = ModelFiles(
        kind="folder",
        vocabulary=StoredVocabulary(ids=ids, special=frozenset(ids)),
        stops=(StopIds(where="config.json", ids=(1,)),),
    )
    trial = TemplateTrial(rendered={"assistant": Rendered(text="Oslo\n</s>")})
    assert by_id(list(stop_findings(files, trial)))["stop.turn"][0] == "ok"


def test_a_template_without_tokens_is_noted(tmp_path: Path) -> None:
    model = tiny(tmp_path, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert stops(model)["stop.turn"][0] == "note"


def test_files_that_do_not_agree_are_noted(tmp_path: Path) -> None:
    model = changed(tiny(tmp_path, eos_token_id=258), "generation_config.json", eos_token_id=256)
    verdict, text = stops(model)["stop.tokens"]
    assert verdict == "note"
    assert "generation_config.json: <|end|>; config.json: <|pad|>; the tokenizer: <|end|>" in text


def test_config_counts_only_where_generation_config_says_nothing(tmp_path: Path) -> None:
    model = tiny(tmp_path, eos_token_id=258)
    assert counted_ids(read_folder(model)) == {256}
    (model / "generation_config.json").unlink()
    assert counted_ids(read_folder(model)) == {256, 258}


@pytest.mark.parametrize("token_id", [259, -1])
def test_a_stop_token_beyond_the_vocabulary_fails(tmp_path: Path, token_id: int) -> None:
    told = stops(changed(tiny(tmp_path), "generation_config.json", eos_token_id=[256, token_id]))
    assert told["stop.known"][0] == "fail"
    assert str(token_id) in told["stop.known"][1]


def test_no_stop_token_at_all_fails() -> None:
    files = ModelFiles(kind="folder", vocabulary=StoredVocabulary(ids={"a": 0}))
    [told] = stop_findings(files, TemplateTrial(rendered={}))
    assert (told.id, told.verdict) == ("stop.tokens", "fail")


def test_llamacpp_stops_at_tokens_for_their_names() -> None:
    vocabulary = StoredVocabulary(
        ids={"</s>": 0, "<|im_end|>": 1}, special=frozenset({"<|im_end|>"})
    )
    files = ModelFiles(
        kind="gguf",
        vocabulary=vocabulary,
        stops=(StopIds(where="eos_token_id", ids=(0,)),),
        stop_texts=frozenset({"<|im_end|>"}),
    )
    trial = TemplateTrial(rendered={"assistant": Rendered(text="Oslo<|im_end|>\nAnd of Denmark?")})
    assert {told.verdict for told in stop_findings(files, trial)} == {"ok"}
