"""/admin/v1/models: what an operator sees of each model, and tells it over HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.serving import make_key, scripted, serving, wait_until
from tests.support.wire_checks import assert_error

COMMANDS = ["load", "unload", "sleep", "pin", "unpin"]


class Operator:
    """Asks a server with an admin key."""

    def __init__(self, url: str, admin_key: str, key: str) -> None:
        self.url, self.admin_key, self.key = url, admin_key, key

    def get(self, **headers: str) -> httpx.Response:
        given = headers or {"X-API-Key": self.admin_key}
        return httpx.get(f"{self.url}/admin/v1/models", headers=given)

    def model(self, alias: str) -> dict[str, Any]:
        models: list[dict[str, Any]] = self.get().json()["models"]
        return next(each for each in models if each["alias"] == alias)

    def tell(self, command: str, name: str) -> httpx.Response:
        url = f"{self.url}/admin/v1/models/{name}/{command}"
        return httpx.post(url, headers={"X-API-Key": self.admin_key})

    def ask(self, model: str) -> int:
        body = {"model": model, "prompt": "hei"}
        headers = {"X-API-Key": self.key}
        return httpx.post(f"{self.url}/v1/completions", json=body, headers=headers).status_code

    def until(self, alias: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.model(alias)["command"] is None, f"{alias} is {state}")
        assert self.model(alias)["state"] == state
        return self.model(alias)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    data_dir = tmp_path_factory.mktemp("data")
    admin_key = make_key(data_dir, service="admin")
    models = [
        scripted("plain", also_known_as=("p",)),
        scripted("shop/never", load="never", keep_s=600.0),
        scripted("pinned", is_pinned=True),
    ]
    with serving(data_dir, *models) as served:
        yield Operator(served.url, admin_key, served.key)


def test_all_models_are_listed_in_the_registrys_order(operator: Operator) -> None:
    models = operator.get().json()["models"]
    assert [m["alias"] for m in models] == ["plain", "shop/never", "pinned"]
    assert [m["keep"] for m in models] == [None, "10m", "pinned"]
    assert [m["load"] for m in models] == ["demand", "never", "demand"]
    assert models[0] | {"for_s": 0} == {
        "alias": "plain",
        "shares_with": [],
        "weights": "plain",
        "engine": "scripted",
        "state": "cold",
        "replicas": 1,
        "ready_replicas": 0,
        "for_s": 0,
        "reason": None,
        "command": None,
        "load": "demand",
        "preload": False,
        "is_open": True,
        "is_pinned": False,
        "keep": None,
        "planned_bytes": None,
        "measured_bytes": None,
        "cards": [],
        "is_on_host": False,
        "sleep_level": 0,
        "asleep_bytes": 0,
        "requests": 0,
        "waiting": 0,
        "last_used": None,
        "loads": 0,
        "restarts": 0,
        "percent": None,
        "position": 1,
        "eta_s": None,
        "context_tokens": 32768,
        "output_tokens": 4096,
    }


def test_a_model_is_loaded_used_and_unloaded(operator: Operator) -> None:
    assert operator.ask("shop/never") == 503
    told = operator.tell("load", "shop/never")
    assert (told.status_code, told.json()["is_open"]) == (200, True)
    assert operator.until("shop/never", "ready")["loads"] == 1
    assert operator.ask("shop/never") == 200
    assert operator.model("shop/never")["last_used"] > 0
    assert operator.tell("unload", "shop%2Fnever").status_code == 200
    assert operator.until("shop/never", "cold")["is_open"] is False
    assert operator.ask("shop/never") == 503


def test_one_that_cannot_sleep_is_a_400_that_says_what_would_be_right(operator: Operator) -> None:
    operator.tell("load", "plain")
    operator.until("plain", "ready")
    error = assert_error(operator.tell("sleep", "plain"), 400, "INVALID_PARAMETER", "alias")
    assert "right would be `can_sleep: true`" in error["message"]
    assert operator.model("plain")["state"] == "ready"
    operator.tell("unload", "plain")
    operator.until("plain", "cold")


def test_a_pin_is_told_and_taken_back_under_another_name(operator: Operator) -> None:
    assert operator.tell("pin", "p").json()["keep"] == "pinned"
    told = operator.tell("unpin", "p").json()
    assert (told["alias"], told["is_pinned"], told["keep"]) == ("plain", False, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_to_nobody_is_404_and_by_another_method_405(
    operator: Operator, command: str
) -> None:
    error = assert_error(operator.tell(command, "n" * 3000), 404, "MODEL_NOT_FOUND", "alias")
    assert "known: plain, shop/never, pinned" in error["message"]
    url = f"{operator.url}/admin/v1/models/plain/{command}"
    got = httpx.get(url, headers={"X-API-Key": operator.admin_key})
    assert_error(got, 405, "METHOD_NOT_ALLOWED")


def test_an_unknown_command_is_404(operator: Operator) -> None:
    assert_error(operator.tell("restart", "plain"), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_else_sees_or_tells_anything(operator: Operator, method: str) -> None:
    path = "/admin/v1/models" + ("" if method == "GET" else "/plain/load")
    for headers, status in (
        ({}, 401),
        ({"X-API-Key": "x"}, 401),
        ({"X-API-Key": operator.key}, 403),
    ):
        answer = httpx.request(method, operator.url + path, headers=headers)
        assert answer.status_code == status
        assert "weights" not in answer.text
