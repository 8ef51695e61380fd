"""Models: what each is, and lines that may be pasted whatever it is called."""

import ast
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.console.api_door import ApiDoor
from server.console.snippets import recording, snippets
from server.console.views.models import tries
from tests.support.given_session import GivenSessions
from tests.support.requests_of import request_to
from tests.support.serving import scripted, serving

HOSTILE = 'a\'; rm -rf $HOME "`id`" </script><b>\\ ${x}'


def test_a_page_says_what_each_alias_really_is(tmp_path: Path) -> None:
    models = [scripted("shop/one", also_known_as=("one",)), scripted("vectors", task="embed")]
    with serving(tmp_path, *models, sessions=GivenSessions()) as served:
        page = httpx.get(f"{served.url}/console/models").text
        assert "/console/models/shop/one" in page
        assert "4.00 / 1.00 / 12.00" in page
        one = httpx.get(f"{served.url}/console/models/shop/one")
        assert one.status_code == 200
        assert f"{served.url}/v1/chat/completions" in one.text
        assert "/v1/embeddings" in httpx.get(f"{served.url}/console/models/vectors").text
        missing = httpx.get(f"{served.url}/console/models/%3Cb%3Enobody")
        assert missing.status_code == 404
        assert "<b>" not in missing.text


def test_the_address_is_the_requests_own_and_stays_text(tmp_path: Path) -> None:
    with serving(tmp_path, sessions=GivenSessions()) as served:
        url = f"{served.url}/console/models/mixtral-8x7b"
        page = httpx.get(url, headers={"Host": "fjord.example.com"}).text
        assert "http://fjord.example.com/v1" in page
        odd = httpx.get(url, headers={"Host": "a'b;c"}).text
        assert "a'b;c" not in odd
        assert "a&#39;b;c" in odd


def test_the_apis_own_port_is_shown_where_it_has_one(tmp_path: Path) -> None:

    door = ApiDoor(app=_nothing, port=8080)
    assert door.url(request_to("gpu-1:9090")) == "http://gpu-1:8080"
    assert door.url(request_to("gpu-1")) == "http://gpu-1:8080"
    assert door.url(request_to("[::1]:9090")) == "http://[::1]:8080"
    assert door.url(request_to("[::1]")) == "http://[::1]:8080"
    told = ApiDoor(app=_nothing, told_url="https://fjord.example.com")
    assert told.url(request_to("gpu-1:9090")) == "https://fjord.example.com"


async def _nothing(*args: Any) -> None: ...


@pytest.mark.parametrize("task", ["generate", "embed", "rerank", "transcribe"])
def test_lines_are_data_whatever_a_model_is_called(task: str) -> None:
    curl, python, _ = tries("http://h/v1", {"alias": HOSTILE, "task": task})
    words = shlex.split(curl.text.replace("\\\n", " "))
    assert words[0] == "curl"
    assert any(HOSTILE in word or "rm -rf" in word for word in words)
    tree = ast.parse(python.text)
    assert not any(isinstance(node, ast.Name) and node.id == "rm" for node in ast.walk(tree))


def test_javascript_is_as_its_engine_reads_it(tmp_path: Path) -> None:
    body = {"model": HOSTILE, "messages": [{"role": "user", "content": "\u2028 'x'"}], "n": None}
    for number, found in enumerate(
        [
            *snippets("http://h/v1", "/chat/completions", body)[2:],
            *recording("http://h/v1", HOSTILE)[2:],
        ]
    ):
        file = tmp_path / f"{number}.mjs"
        file.write_text(found.text)
        checked = subprocess.run(["node", "--check", file], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_a_conversation_in_python_is_the_same_one() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": "a \"b\" 'c'\n" * 40}],
        "temperature": 0.5,
        "chat-odd": {"x": None, "y": True},
        "stream": True,
    }
    text = snippets("http://h/v1", "/chat/completions", body)[1].text
    call = next(
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("completions.create")
    )
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    extra = given.pop("extra_body")
    assert {**given, **extra} == body


@pytest.mark.parametrize("text", ["\n" * 100_000, "'\"" * 50_000, "word " * 20_000])
def test_a_long_conversation_is_not_longer_as_code(text: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}] * 2}
    assert max(len(each.text) for each in snippets("http://h", "/x", body)) < 12 * len(text)
