"""Chat: its key, and how what it asks reaches the public API."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.testing.scripted import ScriptedEngine
from server.console.passing import KEPT
from tests.support.console_people import person
from tests.support.given_session import GivenSessions
from tests.support.serving import (
    Served,
    make_key,
    prepared,
    running_here,
    scripted,
    serving,
    wait_until,
)

SESSIONS = GivenSessions()
TOKEN = {"X-CSRF-Token": "token"}
SLOW = {"text": " ".join(["word"] * 500), "token_delay_s": 0.02}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def served(data_dir: Path) -> Iterator[Served]:
    make_key(data_dir, name="first", owner="acme")
    with serving(data_dir, scripted("m"), scripted("slow", **SLOW), sessions=SESSIONS) as server:
        yield server


@pytest.fixture(scope="module")
def ada(data_dir: Path, served: Served) -> None:
    SESSIONS.principal = person(data_dir)


def made_key(served: Served, owner: str = "acme", status: int = 200) -> dict[str, Any]:
    form = {"csrf": "token", "owner": owner}
    answer = httpx.post(f"{served.url}/console/chat/key", data=form)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def asked(model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hei du"}], **more}


def of(key: dict[str, Any]) -> dict[str, str]:
    return {**TOKEN, "Authorization": f"Bearer {key['key']}"}


def known(served: Served, key: dict[str, Any]) -> dict[str, str]:
    headers = {"X-API-Key": key["key"]}
    url = f"{served.url}/v1/models"
    wait_until(lambda: httpx.get(url, headers=headers).status_code == 200, "the key is known")
    return of(key)


@pytest.mark.usefixtures("ada")
def test_a_key_is_made_for_the_day_and_ends_with_the_page(served: Served) -> None:
    key = made_key(served)
    ends = datetime.fromisoformat(key["expires_at"])
    assert timedelta(hours=11) < ends - datetime.now(UTC) <= timedelta(hours=12)
    headers = known(served, key)
    caller = served.services.ring.find(key["key"])
    assert (caller.name, caller.owner) == ("playground", "acme")
    form = {"csrf": "token", "key_id": key["key_id"]}
    assert httpx.post(f"{served.url}/console/chat/key/end", data=form).status_code == 204
    url = f"{served.url}/console/chat/completions"
    wait_until(lambda: _status(url, headers) == 401, "the key has ended")


def _status(url: str, headers: dict[str, str]) -> int:
    return httpx.post(url, json=asked(), headers=headers).status_code


@pytest.mark.usefixtures("ada")
def test_nobody_is_billed_who_is_not_there(served: Served) -> None:
    answer = made_key(served, "nobody", 404)
    assert "nobody" in answer["error"]["message"]
    made_key(served, "", 404)
    page = httpx.get(f"{served.url}/console/chat").text
    assert "<option>acme</option>" in page
    assert "nobody" not in page


@pytest.mark.usefixtures("ada")
def test_an_answer_is_as_any_clients_and_told_what_it_cost(served: Served) -> None:
    headers = known(served, made_key(served))
    url = f"{served.url}/console/chat/completions"
    answer = httpx.post(url, json=asked(), headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == "hei du"
    with httpx.stream("POST", url, json=asked(stream=True), headers=headers) as streamed:
        lines = [line for line in streamed.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    cost_url = f"{served.url}/console/chat/answers/{streamed.headers['x-request-id']}"
    wait_until(lambda: httpx.get(cost_url).status_code == 200, "it is told")
    cost = httpx.get(cost_url).json()
    assert (cost["currency"], cost["end"]) == ("NOK", "ok")
    assert float(cost["amount"]) > 0
    assert httpx.get(f"{served.url}/console/chat/answers/none").status_code == 204


@pytest.mark.usefixtures("ada")
def test_a_stream_comes_as_it_is_made_and_ends_when_its_reader_leaves(served: Served) -> None:
    headers = known(served, made_key(served))
    url = f"{served.url}/console/chat/completions"
    began = time.monotonic()
    with httpx.stream("POST", url, json=asked("slow", stream=True), headers=headers) as streamed:
        next(line for line in streamed.iter_lines() if line)
        request_id = streamed.headers["x-request-id"]
        assert time.monotonic() - began < 8  # all of it takes ten
    cost_url = f"{served.url}/console/chat/answers/{request_id}"
    wait_until(lambda: httpx.get(cost_url).status_code == 200, "it has ended")
    assert httpx.get(cost_url).json()["end"] == "client_left"


@pytest.mark.usefixtures("ada")
def test_refusals_are_the_apis_own(served: Served) -> None:
    headers = known(served, made_key(served))
    url = f"{served.url}/console/chat/completions"
    wrong = httpx.post(url, json=asked(temperature=9), headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "temperature")
    assert httpx.post(url, json=asked(), headers=TOKEN).status_code == 401
    large = b'{"a": "' + b"x" * (9 * 2**20)
    json_headers = {**headers, "Content-Type": "application/json"}
    assert httpx.post(url, content=large, headers=json_headers).status_code == 413


@pytest.mark.usefixtures("ada")
def test_another_page_can_neither_ask_nor_make_keys(served: Served) -> None:
    key = made_key(served)
    url = f"{served.url}/console/chat"
    bearer = {"Authorization": of(key)["Authorization"]}
    assert httpx.post(f"{url}/completions", json=asked(), headers=bearer).status_code == 403
    assert httpx.post(f"{url}/key", data={"owner": "acme"}).status_code == 403
    assert httpx.post(f"{url}/code", json=asked()).status_code == 403
    for path in ("completions", "code"):
        form = httpx.post(f"{url}/{path}", data={"csrf": "token"}, headers=bearer)
        assert form.status_code == 403, "the token is in a header, where no form of a page puts it"
    wrong = {"X-CSRF-Token": "another"}
    assert httpx.post(f"{url}/code", json=asked(), headers=wrong).status_code == 403


def test_the_sessions_cookie_goes_no_further() -> None:
    assert b"cookie" not in KEPT
    assert b"x-csrf-token" not in KEPT


@pytest.mark.usefixtures("ada")
def test_the_conversation_is_shown_as_code(served: Served) -> None:
    url = f"{served.url}/console/chat/code"
    found = httpx.post(url, json=asked(stream=True), headers=TOKEN).json()["snippets"]
    assert [each["name"] for each in found] == ["curl", "Python", "JavaScript"]
    assert all("hei du" in each["text"] for each in found)
    assert "wayscloud_" not in json.dumps(found)
    assert httpx.post(url, content=b"[1]", headers=TOKEN).status_code == 400
    assert httpx.post(url, content=b'{"a":' * 9_000, headers=TOKEN).status_code == 400
    assert httpx.post(url, content=b"x" * (2**18 + 1), headers=TOKEN).status_code == 413
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    assert httpx.post(url, content=deep, headers=TOKEN).status_code == 400


def test_a_server_without_keys_asks_for_none(tmp_path: Path) -> None:
    with serving(tmp_path, settings={"no_auth": True}, sessions=GivenSessions()) as server:
        page = httpx.get(f"{server.url}/console/chat").text
        assert 'id="start"' not in page
        url = f"{server.url}/console/chat/completions"
        answer = httpx.post(url, json=asked("mixtral-8x7b"), headers=TOKEN)
        assert answer.json()["choices"][0]["message"]["content"] == "hei du"


@pytest.mark.anyio
async def test_the_api_may_be_on_another_port(tmp_path: Path) -> None:
    admin = person(tmp_path)
    app, made = prepared(
        tmp_path,
        build=ScriptedEngine,
        settings={"ops_port": 9090, "port": 8080},
        sessions=GivenSessions(admin),
    )
    async with running_here(app):
        transport = httpx.ASGITransport(app.app.ops)
        async with httpx.AsyncClient(transport=transport, base_url="http://gpu:9090") as client:
            page = await client.get("/console/models/mixtral-8x7b")
            assert "http://gpu:8080/v1/chat/completions" in page.text
            headers = {**TOKEN, "Authorization": f"Bearer {made.key}"}
            url = "/console/chat/completions"
            answer = await client.post(url, json=asked("mixtral-8x7b"), headers=headers)
            assert answer.json()["choices"][0]["message"]["content"] == "hei du"
            assert (await client.post("/v1/chat/completions", json=asked())).status_code == 404
            found = await client.get(f"/console/chat/answers/{answer.headers['x-request-id']}")
            assert found.json()["end"] == "ok"
