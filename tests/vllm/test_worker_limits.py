"""What a GPU worker of vLLM would raise for never leaves the engine."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.base import GenerateRequest, InvalidRequest, Sampling
from engines.testing.tiny import make_llama
from engines.vllm.render import Renderer
from engines.vllm.sampling import sampling_params
from engines.vllm.worker_limits import MOST_BIASES
from tests.support.plain_renderers import tiny

pytestmark = pytest.mark.vllm


def params(**sampling: Any) -> Any:
    request = GenerateRequest(request_id="r", sampling=Sampling(max_tokens=8, **sampling))
    return sampling_params(request, None, False)


def test_our_numbers_are_vllms() -> None:
    import vllm

    file = Path(vllm.__file__).parent / "v1/worker/gpu/sample/logit_bias.py"
    if not file.exists():
        pytest.skip("this vLLM has no such runner")
    found = constants(file)
    assert found["MAX_NUM_LOGIT_BIAS_TOKENS"] == MOST_BIASES


@pytest.mark.parametrize("is_plain_tried", [True, False])
def test_a_text_with_a_token_that_the_model_has_no_row_for_is_refused(
    tmp_path: Path, is_plain_tried: bool
) -> None:
    """An image's mark in a model of text: vLLM's front knows the tokenizer's ids too."""
    file = make_llama(tmp_path) / "tokenizer.json"
    tokens = json.loads(file.read_text())["added_tokens"]
    known = tokens[-1]["id"] + 1
    tokens.append(tokens[-1] | {"id": known, "content": "<|image|>"})
    llm = tiny(tmp_path, tokenizer={"added_tokens": tokens})
    assert llm.model_config.get_vocab_size() == known
    renderer = Renderer(llm, is_plain_tried=is_plain_tried)
    for make, param in ((asked, "messages"), (lambda r, text: r.prompts([text]), "prompt")):
        make(renderer, "<|image|")
        with pytest.raises(InvalidRequest) as refusal:
            make(renderer, "what is <|image|>?")
        assert refusal.value.param == param
        assert f"id {known}" in str(refusal.value)


def asked(renderer: Renderer, text: str) -> Any:
    messages = ({"role": "user", "content": text},)
    return renderer.chat(
        GenerateRequest(request_id="r", sampling=Sampling(max_tokens=8), messages=messages)
    )


def constants(path: Path) -> dict[str, Any]:
    """Names in capitals that a module sets to numbers."""
    return {
        target.id: node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def test_more_biases_than_a_worker_holds_are_refused() -> None:
    assert len(params(logit_bias=dict.fromkeys(range(MOST_BIASES), 1.0)).logit_bias) == MOST_BIASES
    with pytest.raises(InvalidRequest) as refusal:
        params(logit_bias=dict.fromkeys(range(MOST_BIASES + 1), 1.0))
    assert refusal.value.param == "logit_bias"


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63 - 3, -(2**63), 0, 7])
def test_the_seeds_of_all_choices_fit_64_bits(seed: int) -> None:
    """vLLM adds a choice's index to it; a worker keeps it in an int64."""
    first = params(seed=seed, n=16).seed
    kept = np.zeros(16, dtype=np.int64)
    for index in range(16):
        kept[index] = first + index
    assert first == seed or seed > 2**63 - 18
