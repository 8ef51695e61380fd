"""Renderers for tests, each on a model's tokenizer, that count what they leave to vLLM.

No engine is started: a renderer needs a model's configuration and tokenizer alone. A test file
takes the fixtures it needs: `made, renderer = plain_renderers.made, plain_renderers.renderer`.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from engines.base import GenerateRequest, Sampling, Tool
from engines.registry.spec import EngineSpec
from engines.testing.tiny import SPECIALS, TEMPLATE, make_llama, make_qwen3
from engines.vllm.arguments import engine_arguments
from engines.vllm.environment import set_environment, without_hub
from engines.vllm.render import Renderer
from tests.support.engine_fixtures import smollm2
from tests.support.paths import QWEN3_TOKENIZER as QWEN3

ANSWER = "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
OF_BOTH = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content | trim }}{% else %}"
    "{% for part in message.content %}{{ part.text | trim }}{% endfor %}{% endif %}"
    "<|end|>\n{% endfor %}" + ANSWER
)
"""vLLM hands over parts; we a text."""
WEATHER = Tool(
    name="get_weather",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
HI = {"role": "user", "content": "Hi, what is the capital of Norway?"}

Chat: TypeAlias = list[dict[str, Any]]


class Counting(Renderer):
    """Knows how often it went vLLM's way."""

    def __init__(self, llm: Any) -> None:
        self.by_vllm: list[Any] = []
        self.llm = llm
        super().__init__(llm)
        self.by_vllm.clear()  # the probes

    def _vllm_chat(self, *args: Any) -> Mapping[str, Any]:
        self.by_vllm.append(args)
        return super()._vllm_chat(*args)

    def _vllm_prompts(self, prompts: Sequence[str | Sequence[int]]) -> Sequence[Mapping[str, Any]]:
        self.by_vllm.append(prompts)
        return super()._vllm_prompts(prompts)

    @property
    def is_plain(self) -> bool:
        return self.plain is not None

    def vllms_chat(self, messages: Chat, switches: Mapping[str, Any] | None = None) -> Any:
        return super()._vllm_chat(messages, switches or {})

    def vllms_texts(self, prompts: Sequence[str]) -> Any:
        return super()._vllm_prompts(prompts)


def llm_of(folder: Path) -> Any:
    """What a Renderer reads of an AsyncLLM, without its processes."""
    with warnings.catch_warnings(), without_hub(str(folder)):
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        set_environment()
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.renderers import renderer_from_config

        args = {"max_model_len": 4096, "kv_cache_memory_bytes": 2**28}
        spec = EngineSpec(kind="vllm", source=str(folder), args=args)
        arguments = engine_arguments(spec, str(folder), {f.name for f in fields(AsyncEngineArgs)})
        del arguments["structured_outputs_config"]
        config = AsyncEngineArgs(**arguments).create_engine_config()
        renderer = renderer_from_config(config)
    return SimpleNamespace(
        renderer=renderer,
        tokenizer=renderer.tokenizer,
        model_config=config.model_config,
        vllm_config=config,
    )


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


_MADE: dict[str, Counting] = {}
"""Made once, whichever files' tests ask for them: Qwen3's and SmolLM2's take seconds."""


@pytest.fixture(scope="module", params=["tiny", "bos", "parts or text", "smollm2", "qwen3"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counting:
    kind = request.param
    if kind == "qwen3" and not QWEN3.exists():
        pytest.skip(f"no {QWEN3}: `make clients` makes it, where npm is")
    if kind not in _MADE:
        _MADE[kind] = Counting(llm_named(kind, request, tmp_path_factory.mktemp("model")))
    return _MADE[kind]


def llm_named(kind: str, request: pytest.FixtureRequest, folder: Path) -> Any:
    if kind == "smollm2":
        assert request.config.cache is not None
        return llm_of(smollm2(request.config.cache.mkdir("models")))
    makers: dict[str, Callable[[], Any]] = {
        "tiny": lambda: tiny(folder),
        "bos": lambda: with_bos(folder),
        "parts or text": lambda: tiny(folder, OF_BOTH),
        "qwen3": lambda: llm_of(make_qwen3(folder, QWEN3)),
    }
    return makers[kind]()


@pytest.fixture
def renderer(made: Counting) -> Counting:
    made.by_vllm.clear()
    assert made.is_plain
    return made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Counting:
    """The tiny one, always there."""
    return Counting(tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def tiny_renderer(plain: Counting) -> Counting:
    plain.by_vllm.clear()
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


def byte_ids(text: str) -> list[int]:
    """The ids that the tiny tokenizer gives: places in the sorted byte alphabet."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    [(mapped, _)] = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(text)
    return [alphabet.index(char) for char in mapped]
