"""A registry that is applied again and again under load: some seconds of benchmarks/apply_load.py,
on scripted engines."""

from pathlib import Path

import pytest

from benchmarks.apply_load import Asked, Prices, misbilled, run, scripted_registry
from benchmarks.fleet_crowd import Ended

SECONDS = 8.0


@pytest.mark.slow
def test_no_request_fails_and_each_is_billed_at_a_price_that_held(tmp_path: Path) -> None:
    result = run(SECONDS, seed=3, folder=tmp_path, registry=scripted_registry(), pause_s=0.0)
    assert (result["wrong"], result["failed"]) == ([], 0), result
    assert result["requests"] > 100, result
    assert result["applies"] >= 5, result


def asked(sent: float, begun: float) -> Asked:
    ended = Ended(
        alias="plain",
        request_id="req_1",
        end="done",
        wait_s=begun - sent,
        pieces=1,
        prompt_tokens=5,
        completion_tokens=3,
    )
    return Asked(ended, sent, begun)


@pytest.mark.parametrize(
    ("sent", "begun", "amount", "is_right"),
    [
        (1.0, 2.0, 5 + 3 * 7, True),  # before the change
        (1.0, 2.0, 5 + 3 * 9, False),
        (9.0, 10.5, 5 + 3 * 7, True),  # across it
        (9.0, 10.5, 5 + 3 * 9, True),
        (9.0, 10.5, 5 + 3 * 8, False),
        (12.0, 13.0, 5 + 3 * 7, False),  # after it
        (12.0, 13.0, 5 + 3 * 9, True),
    ],
)
def test_a_wrong_price_is_seen(sent: float, begun: float, amount: int, is_right: bool) -> None:
    prices = Prices(7)
    prices.changed(9, began=10.0, ended=11.0)
    record = {"prompt_tokens": 5, "completion_tokens": 3, "amount": amount}
    assert (misbilled([asked(sent, begun)], {"req_1": record}, prices) == []) is is_right
