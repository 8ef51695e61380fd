"""What a GPU worker of vLLM would raise for never leaves the engine."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vllm

from engines.base import GenerateRequest, InvalidRequest, Sampling
from engines.vllm.sampling import sampling_params
from engines.vllm.worker_limits import MOST_BIASES

GPU = Path(vllm.__file__).parent / "v1" / "worker" / "gpu" / "sample"


def params(**sampling: Any) -> Any:
    request = GenerateRequest(request_id="r", sampling=Sampling(max_tokens=8, **sampling))
    return sampling_params(request, None, False)


def test_our_numbers_are_vllms() -> None:
    if not (GPU / "logit_bias.py").exists():
        pytest.skip("this vLLM has no such runner")
    found = constants(GPU / "logit_bias.py")
    assert found["MAX_NUM_LOGIT_BIAS_TOKENS"] == MOST_BIASES


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
