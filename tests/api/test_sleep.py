"""A model that sleeps, over HTTP: a request wakes it, its stream hears how far that is, and the
operator and /metrics see it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.serving import Served, make_key, scripted, serving, wait_until

MODELS = [
    scripted("quick", can_sleep=True),
    scripted("slow", can_sleep=True, wake_s=0.6),
    scripted("faulty", can_sleep=True, fail_wake="no memory"),
    scripted("changed", can_sleep=True, differs_after_wake=True),
]


class Site:
    """A server, its operator and a client of his."""

    def __init__(self, served: Served, admin_key: str) -> None:
        self.url, self.key = served.url, {"X-API-Key": served.key}
        self.admin = {"X-API-Key": admin_key}

    def model(self, alias: str) -> dict[str, Any]:
        listed = httpx.get(f"{self.url}/admin/v1/models", headers=self.admin).json()["models"]
        found: dict[str, Any] = next(m for m in listed if m["alias"] == alias)
        return found

    def body(self, alias: str, stream: bool = False) -> dict[str, Any]:
        return {"model": alias, "prompt": "hei", "stream": stream}

    def ask(self, alias: str) -> str:
        answer = httpx.post(f"{self.url}/v1/completions", json=self.body(alias), headers=self.key)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"])

    def put_to_sleep(self, alias: str) -> None:
        url = f"{self.url}/admin/v1/models/{alias}/sleep"
        told = httpx.post(url, headers=self.admin)
        assert told.status_code == 200, told.text
        wait_until(lambda: self.model(alias)["command"] is None, f"{alias} sleeps")
        assert (self.model(alias)["state"], self.model(alias)["sleep_level"]) == ("sleeping", 2)

    def figure(self, name: str, alias: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        [line] = [x for x in lines if x.startswith(f"fjord_engine_{name}{{") and f":{alias}:" in x]
        return float(line.split()[-1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("data")
    admin_key = make_key(data_dir, service="admin")
    with serving(data_dir, *MODELS, settings={"keep_alive_s": 0.1}) as served:
        yield Site(served, admin_key)


def test_a_request_wakes_a_sleeping_model_and_figures_tell_it(site: Site) -> None:
    for times in (1, 2):
        assert site.ask("quick") == "hei"
        site.put_to_sleep("quick")
        assert site.figure("sleeps_total", "quick") == times
    assert site.ask("quick") == "hei"
    assert site.figure("wakes_total", "quick") == 2
    assert site.figure("loads_total", "quick") == 1
    assert site.figure("failed_wakes_total", "quick") == 0
    assert (site.model("quick")["state"], site.model("quick")["sleep_level"]) == ("ready", 0)


def test_a_stream_that_waits_for_a_wake_hears_of_it_and_is_answered(site: Site) -> None:
    site.ask("slow")
    site.put_to_sleep("slow")
    with httpx.stream(
        "POST", f"{site.url}/v1/completions", json=site.body("slow", True), headers=site.key
    ) as answer:
        text = answer.read().decode()
    told = [line for line in text.splitlines() if line.startswith(": loading slow state=waking")]
    assert told
    assert "eta_s=1" in told[0]
    assert '"text":"hei"' in text
    assert text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("alias", ["faulty", "changed"])
def test_a_wake_that_fails_or_answers_otherwise_costs_no_request(site: Site, alias: str) -> None:
    assert site.ask(alias) == "hei"
    site.put_to_sleep(alias)
    assert site.ask(alias) == "hei"
    assert site.figure("failed_wakes_total", alias) == 1
    assert site.figure("loads_total", alias) == 2
