"""Requests copied from one that vLLM has checked are what vLLM would have made of them."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from engines.base import GenerateRequest, Prompt, Sampling, ThinkingBudget
from engines.vllm.fastpath.request_copies import RequestCopies
from engines.vllm.sampling import sampling_params
from tests.support import plain_renderers

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]
plain = plain_renderers.plain

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.0, "ignore_eos": True},
    {"top_p": 0.5, "top_k": 7, "min_p": 0.1},
    {"presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.1},
    {"min_tokens": 3},
    {"seed": 7},
    {"logit_bias": {5: 1.0}},
    {"stop": ("x",)},
)


class Llm:
    """An AsyncLLM without its engine, that counts what vLLM processed."""

    def __init__(self, made: Any) -> None:
        from vllm.v1.engine.input_processor import InputProcessor

        self.model_config = made.model_config
        self.input_processor = self
        self.assign_request_id = InputProcessor.assign_request_id
        self.by_vllm = InputProcessor(made.vllm_config, made.renderer)
        self.processed = 0

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("generate",)

    def process_inputs(self, *args: Any, **options: Any) -> Any:
        self.processed += 1
        return self.by_vllm.process_inputs(*args, **options)


@pytest.fixture(scope="module")
def llm(plain: plain_renderers.Counting) -> Llm:
    return Llm(plain.llm)


def asked(plain: Any, number: int, settings: dict[str, Any]) -> tuple[GenerateRequest, Prompt]:
    request = GenerateRequest(
        request_id=f"r{number}",
        sampling=Sampling(max_tokens=10 + number, **settings),
        messages=[{"role": "user", "content": f"Question {number}"}],
        priority=number,
    )
    rendered = plain.chat(request)
    return request, Prompt(token_ids=rendered["prompt_token_ids"], rendered=rendered)


async def made_by(
    requests: RequestCopies, request: GenerateRequest, prompt: Prompt, skips: bool = True
) -> Any:
    params = partial(sampling_params, request, None, skips)
    return await requests.make(request, prompt, params, is_plain=True, skips_special_tokens=skips)


def members(made: Any) -> dict[str, Any]:
    """All of it but the random end of its id."""
    found = structs.asdict(made)
    found["sampling_params"] = structs.asdict(made.sampling_params)
    assert found.pop("request_id").startswith(found["external_req_id"] + "-")
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("skips", [True, False])
async def test_a_copy_is_what_vllm_makes(
    llm: Llm, plain: Any, settings: dict[str, Any], skips: bool
) -> None:
    requests = RequestCopies(llm)
    for number in range(3):
        request, prompt = asked(plain, number, settings)
        copied = await made_by(requests, request, prompt, skips)
        theirs = await made_by(RequestCopies(llm), request, prompt, skips)
        assert members(copied) == members(theirs)
        assert copied.request_id != theirs.request_id


async def test_only_the_first_of_its_kind_is_processed(llm: Llm, plain: Any) -> None:
    requests = RequestCopies(llm)
    llm.processed = 0
    for number in range(4):
        await made_by(requests, *asked(plain, number, {}))
    assert llm.processed == 1
    await made_by(requests, *asked(plain, 5, {"temperature": 0.5}))
    await made_by(requests, *asked(plain, 6, {}), skips=False)
    assert llm.processed == 3
    for number in range(2):
        await made_by(requests, *asked(plain, number, {"seed": 1}))
    assert llm.processed == 5


async def test_a_prompt_that_vllm_refuses_is_refused_each_time(llm: Llm, plain: Any) -> None:
    requests = RequestCopies(llm)
    await made_by(requests, *asked(plain, 0, {}))
    request, prompt = asked(plain, 1, {})
    ids = [5] * (llm.model_config.max_model_len + 1)
    long = Prompt(token_ids=ids, rendered=dict(prompt.rendered) | {"prompt_token_ids": ids})
    for _ in range(2):
        with pytest.raises(Exception, match="longer than the maximum model length"):
            await made_by(requests, request, long)


async def test_what_is_remembered_is_bounded(llm: Llm, plain: Any) -> None:
    requests = RequestCopies(llm)
    for number in range(150):
        await made_by(requests, *asked(plain, 1, {"temperature": 0.001 * number}))
        assert len(requests._known) <= 64


async def test_requests_with_a_thinking_budget_are_copies_where_vllms_number_is_the_same(
    llm: Llm, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number counts what the prompt has of the thought, so it may differ where the budget does
    not."""
    marks = SimpleNamespace(enabled=True)
    monkeypatch.setattr(llm.by_vllm.vllm_config, "reasoning_config", marks)
    requests, budget = RequestCopies(llm), ThinkingBudget(tokens=5)
    llm.processed = 0
    for number, tokens in enumerate((5, 6, 5, 6)):
        request, prompt = asked(plain, number, {"thinking_budget": budget})
        params = partial(sampling_params, request, None, True, tokens)
        made = await requests.make(
            request,
            prompt,
            params,
            is_plain=True,
            skips_special_tokens=True,
            thinking_tokens=tokens,
        )
        assert made.sampling_params.thinking_token_budget == tokens
    assert llm.processed == 2
