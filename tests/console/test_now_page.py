"""Now: what the page says without JavaScript, what it tells the fleet, and its events."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.accounts.principal import Principal
from server.api.admin.now import routes
from tests.support.carded import CardedEngine, carded_memory
from tests.support.given_session import ADMIN, GivenSessions
from tests.support.serving import Served, make_key, scripted, serving, wait_until

SESSIONS = GivenSessions()
NOBODY_SPECIAL = Principal(kind="member", name="m_2", role="member", owner="acme", title="Bo")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = [
        scripted("shop/one", text=" ".join(["word"] * 500), token_delay_s=0.02),
        scripted("two"),
        scripted("hidden", owners=frozenset({"other"})),
    ]
    data_dir = tmp_path_factory.mktemp("data")
    fleet = {"memory": carded_memory()}
    with serving(data_dir, *models, build=CardedEngine, fleet=fleet, sessions=SESSIONS) as server:
        yield server


@pytest.fixture(autouse=True)
def ada() -> None:
    SESSIONS.principal = ADMIN


def tell(served: Served, command: str, alias: str, **fields: str) -> httpx.Response:
    url = f"{served.url}/console/models/{alias}/{command}"
    return httpx.post(url, data={"csrf": SESSIONS.csrf, **fields})


def state(served: Served, alias: str) -> str:
    page = httpx.get(f"{served.url}/console/models/{alias}").text
    found = re.search(r'class="dot (\w+)"', page)
    assert found is not None
    return found[1]


def test_a_command_is_given_and_said(served: Served) -> None:
    answer = tell(served, "load", "two")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console?told=load&model=two")
    page = httpx.get(f"{served.url}/console?told=load&model=two").text
    assert "two is being loaded." in page
    wait_until(lambda: state(served, "two") == "ready", "it serves")
    page = httpx.get(f"{served.url}/console").text
    assert "GPU 0" in page
    assert "5.0 GB of 20.0 GB" in page
    assert "34.6 GB of 84.6 GB" in page


def test_what_an_address_says_is_no_message(served: Served) -> None:
    page = httpx.get(f"{served.url}/console?told=load&model=<b>you%20were%20hacked").text
    assert "hacked" not in page
    assert 'class="done"' not in page


def test_a_busy_engine_is_asked_about_first(served: Served) -> None:
    body = {"model": "shop/one", "messages": [{"role": "user", "content": "?"}], "stream": True}
    url = f"{served.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=served.headers, timeout=60) as answer:
        next(answer.iter_lines())
        asked = tell(served, "unload", "shop/one")
        assert (asked.status_code, "Unload shop/one?" in asked.text) == (200, True)
        assert "1 request runs" in asked.text
        assert state(served, "shop/one") == "ready"
        assert tell(served, "unload", "shop/one", sure="yes").status_code == 303
    wait_until(lambda: state(served, "shop/one") == "cold", "it has ended")


def test_an_idle_engine_is_not_asked_about(served: Served) -> None:
    tell(served, "load", "two")
    wait_until(lambda: state(served, "two") == "ready", "it serves")
    assert tell(served, "unload", "two").status_code == 303


def test_a_refusal_is_told_in_its_own_words(served: Served) -> None:
    tell(served, "unload", "two", sure="yes")
    wait_until(lambda: state(served, "two") == "cold", "it has ended")
    answer = tell(served, "sleep", "two")
    assert (answer.status_code, "only a loaded one can sleep" in answer.text) == (400, True)
    assert tell(served, "explode", "two").status_code == 404
    assert tell(served, "load", "nobody").status_code == 404


def test_nothing_is_told_without_the_forms_token(served: Served) -> None:
    url = f"{served.url}/console/models/two/load"
    assert httpx.post(url, data={"csrf": "another"}).status_code == 403
    assert httpx.get(url).status_code in (404, 405)


def test_only_an_admin_sees_buttons_and_an_owners_people_no_other_models(served: Served) -> None:
    assert "Unload" in httpx.get(f"{served.url}/console").text
    SESSIONS.principal = NOBODY_SPECIAL
    page = httpx.get(f"{served.url}/console").text
    assert "data-command" not in page
    assert "hidden" not in re.findall(r'data-alias="([^"]+)"', page)


def test_the_pages_events_are_the_admin_apis(served: Served) -> None:
    with httpx.stream("GET", f"{served.url}/console/now/events", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        line = next(line for line in answer.iter_lines() if line.startswith("data: "))
    found = json.loads(line.removeprefix("data: "))
    assert [each["alias"] for each in found["models"]] == ["shop/one", "two", "hidden"]


def test_who_has_not_signed_in_gets_no_events(tmp_path: Path) -> None:
    with serving(tmp_path, sessions=GivenSessions(None)) as server:
        assert httpx.get(f"{server.url}/console/now/events").status_code == 303


@pytest.mark.parametrize("principal", [None, NOBODY_SPECIAL], ids=["signed out", "another role"])
def test_the_pages_events_end_with_the_session(
    served: Served, monkeypatch: pytest.MonkeyPatch, principal: Principal | None
) -> None:
    monkeypatch.setattr(routes, "ASK_AGAIN_S", 0.0)
    with httpx.stream("GET", f"{served.url}/console/now/events", timeout=10) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        SESSIONS.principal = principal
        assert sum(line.startswith("data: ") for line in lines) <= 1


def test_a_programs_events_end_when_its_key_is_revoked(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ASK_AGAIN_S", 0.0)
    admin = {"X-API-Key": make_key(served.data_dir, service="admin")}
    url = f"{served.url}/admin/v1"
    wait_until(lambda: httpx.get(f"{url}/me", headers=admin).is_success, "the key is known")
    key_id = httpx.get(f"{url}/me", headers=admin).json()["name"]
    with httpx.stream("GET", f"{url}/now/events", headers=admin, timeout=10) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        httpx.delete(f"{url}/keys/{key_id}", headers=admin).raise_for_status()
        assert sum(line.startswith("data: ") for line in lines) <= 5


@pytest.mark.parametrize("path", ["/console/now/events", "/admin/v1/now/events"])
def test_head_of_a_stream_is_its_head_and_no_stream(served: Served, path: str) -> None:
    admin = {"X-API-Key": make_key(served.data_dir, service="admin")}
    with httpx.Client(base_url=served.url, headers=admin, timeout=5) as client:
        wait_until(lambda: client.get("/admin/v1/me").is_success, "the key is known")
        for _ in range(10):
            answer = client.head(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
        assert client.get("/health").status_code == 200, "nothing of it is left on the connection"
        with client.stream("GET", path) as stream:
            assert stream.status_code == 200, "none of them watches any more"
