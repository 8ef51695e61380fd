"""What is computed of a moment: rates, percentiles, alerts."""

from typing import Any

import pytest
import yaml

from server.api.admin.now import alert_texts
from server.api.admin.now.alerts import Facts, alerts_of
from server.api.admin.now.speed import TokenRates, percentile_ms
from tests.support.paths import ROOT


def test_a_rate_is_of_the_last_seconds() -> None:
    counts = {"m": 0}
    rates = TokenRates(lambda: dict(counts))
    assert rates.look(100.0) is None
    for second in range(1, 9):
        counts["m"] += 50 if second <= 4 else 10
        found = rates.look(100.0 + second)
    assert found is not None
    assert found["m"] == pytest.approx((50 * 1 + 10 * 4) / 5)
    assert rates.look(200.0) is None


@pytest.mark.parametrize(
    ("times", "part", "found"),
    [([], 0.5, None), ([1.0], 0.9, 1000.0), ([0.1, 0.2, 0.3, 0.4], 0.5, 300.0)],
)
def test_percentiles_are_of_the_nearest_rank(
    times: list[float], part: float, found: float | None
) -> None:
    assert percentile_ms(times, part) == found


def test_alerts_say_what_prometheus_rules_say() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    known = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
    for name, told in alert_texts.RULES.items():
        rule = known[f"Fjord{name}"]
        assert told.severity == rule["labels"]["severity"], name
        assert told.action == " ".join(rule["annotations"]["action"].split()), name


@pytest.mark.parametrize(
    ("facts", "alert"),
    [
        ({"disk": {"free_bytes": 10**9, "size_bytes": 10**12}}, "DiskAlmostFull"),
        ({"disk": {"free_bytes": 4 * 10**10, "size_bytes": 10**12}}, "DiskAlmostFull"),
        ({"sequences": {"m": 90}, "queue_limit": 100}, "QueueFull"),
        ({"longest_waits_s": {"m": 61.0}}, "WaitsTooLong"),
        ({"certificate_ends_at": 1e9 + 86_400 * 13}, "CertificateEnding"),
        ({"certificate_ends_at": 1e9 - 5}, "CertificateEnded"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else(facts: dict[str, Any], alert: str) -> None:
    assert [each.alert for each in alerts_of(Facts(at=1e9, **facts))] == [alert]


@pytest.mark.parametrize(
    "facts",
    [
        {"disk": {"free_bytes": 6 * 10**10, "size_bytes": 10**12}},
        {"disk": {}},
        {"sequences": {"m": 89}, "queue_limit": 100},
        {"longest_waits_s": {"m": 59.0}},
        {"certificate_ends_at": 1e9 + 86_400 * 15},
    ],
)
def test_what_is_near_is_no_alert(facts: dict[str, Any]) -> None:
    assert alerts_of(Facts(at=1e9, **facts)) == []
