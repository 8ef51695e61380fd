"""Four models in memory for two, real engines of both kinds, killed and stopped: a minute of
benchmarks/fleet_soak.py."""

from typing import Any

import pytest

from benchmarks.fleet_crowd import Ended
from benchmarks.fleet_site import ALIASES, difference
from benchmarks.fleet_soak import LONGEST_WAIT_S, run, wrong

SECONDS = 60.0


@pytest.mark.alone  # beside others an engine may take longer to start than it may
@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_request_ends_and_is_billed_as_it_was_delivered() -> None:
    result = run(SECONDS, seed=2)
    assert result["wrong"] == [], result
    assert sum(result["loads"].values()) >= 2, result
    assert sum(result["faults"].values()) >= 1, result


def ended(**facts: Any) -> Ended:
    usual = {"alias": "alpha", "request_id": "req_1", "end": "done", "wait_s": 1.0, "pieces": 3}
    return Ended(**{**usual, **facts})


def record(**facts: Any) -> dict[str, Any]:
    return {"prompt_tokens": 5, "completion_tokens": 3, "amount": 1, **facts}


@pytest.mark.parametrize(
    ("seen", "billed", "complaint"),
    [
        (ended(prompt_tokens=5, completion_tokens=3), record(), None),
        (ended(prompt_tokens=5, completion_tokens=4), record(), "billed (5, 3), said (5, 4)"),
        (ended(), None, "has no record"),
        (ended(end="cut MODEL_UNAVAILABLE"), record(), None),
        (ended(end="cut MODEL_UNAVAILABLE", pieces=4), record(), "4 pieces, billed (5, 3)"),
        (ended(end="503 MODEL_UNAVAILABLE", pieces=0), record(amount=0), None),
        (ended(end="503 MODEL_UNAVAILABLE", pieces=0), record(), "nothing was delivered"),
    ],
)
def test_a_wrong_record_is_seen(
    seen: Ended, billed: dict[str, Any] | None, complaint: str | None
) -> None:
    found = difference(seen, billed)
    assert found is None if complaint is None else complaint in str(found)


def test_a_wrong_run_is_seen() -> None:
    all_served = [ended(alias=alias) for alias in ALIASES]
    few = dict.fromkeys(ALIASES, 1)
    assert wrong(all_served, few, faults=0, over_s=60.0) == []
    assert wrong(all_served[1:], few, faults=0, over_s=60.0) == ["no answer of alpha"]
    late = ended(alias="beta", wait_s=LONGEST_WAIT_S + 1)
    assert wrong([*all_served, late], few, 0, 60.0) == [f"beta waited for {LONGEST_WAIT_S + 1} s"]
    [thrash] = wrong(all_served, dict.fromkeys(ALIASES, 10), 1, 60.0)
    assert thrash == "40 loads in 60 s, over 17"
