"""Every sampling field at both ends of its range, on every engine, under a memory limit."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.base import ContextLengthExceeded, EngineDead, InvalidRequest
from engines.llamacpp.run import failure
from engines.llamacpp.wire import Failure
from tests.support.paths import ROOT

ENGINES = [
    "scripted",
    pytest.param("llamacpp-smollm2", marks=pytest.mark.slow),
    pytest.param("vllm-tiny", marks=pytest.mark.vllm),
]


@pytest.mark.parametrize("name", ENGINES)
def test_both_ends_of_every_field_are_answered_in_little_memory(name: str, tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.support.sampling_ends_child", name, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    report = json.loads(child.stdout.splitlines()[-1])
    outcomes = report["outcomes"]
    unknown_token = outcomes.pop("logit_bias={2147483648: 1.0}")
    refused = r"refused logit_bias: logit_bias names token 2147483648; the model's .* 0 to \d+\."
    assert re.fullmatch("answered" if name == "scripted" else refused, unknown_token)
    assert set(outcomes.values()) == {"answered"}, outcomes
    assert report["grown_bytes"] < 500_000_000


@pytest.mark.parametrize(
    "failed",
    [
        Failure(message="std::bad_alloc", code=400, type="invalid_request_error"),
        Failure(message="compute error", code=500, type="server_error"),
    ],
)
def test_an_engines_own_failure_is_no_fault_of_the_request(failed: Failure) -> None:
    error = failure(failed)
    assert not isinstance(error, InvalidRequest)
    assert isinstance(error, EngineDead) is (failed.code == 500)


def test_a_context_that_llamacpp_finds_too_short_is_told_as_one() -> None:
    error = failure(Failure("…", 400, "exceed_context_size_error", n_prompt_tokens=9, n_ctx=8))
    assert isinstance(error, ContextLengthExceeded)
