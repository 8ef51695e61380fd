"""Requests with a key whose server is killed: charged once at most, and never a second time."""

import signal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.serve_process import Server, serving
from tests.support.serving import read_records, wait_until
from tests.support.wire_checks import assert_error

REGISTRY: Final = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {text: "%s", token_delay_s: %s}
    context: 4K
    output: 1K
    preload: true
    price: {input: "1000", output: "1000"}
profiles:
  embedded: {}
"""
WORDS: Final = " ".join(f"w{i}" for i in range(60))
CHAT: Final = "/v1/chat/completions"


def asked(server: Server, url: str, **fields: Any) -> httpx.Response:
    return httpx.post(url + CHAT, json=body_of(**fields), headers=headers(server), timeout=60)


def body_of(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hei"}], **fields}


def headers(server: Server) -> dict[str, str]:
    return {"X-API-Key": server.key(), "Idempotency-Key": "k"}


def killed_while_it_answers(home: Path, stream: bool) -> None:
    """At its third token, long after the ledger has heard of the first."""
    (home / "model_registry.yaml").write_text(REGISTRY % (WORDS, "0.2"))
    with serving(home) as server:
        url = server.url()
        server.until("Ready")
        request: dict[str, Any] = {"json": body_of(stream=stream), "headers": headers(server)}
        if stream:
            with httpx.stream("POST", url + CHAT, timeout=60, **request) as answer:
                pieces = answer.iter_text()
                seen = ""
                while "w12" not in seen:  # progress is noted every second
                    seen += next(pieces)
                server.ends(signal.SIGKILL)
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + CHAT, timeout=httpx.Timeout(60, read=2.0), **request)
            server.ends(signal.SIGKILL)
    (home / "model_registry.yaml").write_text(REGISTRY % (WORDS, "0"))


def test_a_stream_that_was_billed_is_not_billed_again(tmp_path: Path) -> None:
    killed_while_it_answers(tmp_path, stream=True)
    with serving(tmp_path) as server:
        url = server.url()
        server.until("Ready")
        for _ in range(2):
            refused = asked(server, url, stream=True)
            assert_error(refused, 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
        paid = [r for r in read_records(tmp_path / "data") if r["amount"] != 0]
        assert [r["end"] for r in paid] == ["lost"]


def test_a_whole_answer_that_nobody_got_is_made_anew(tmp_path: Path) -> None:
    killed_while_it_answers(tmp_path, stream=False)
    with serving(tmp_path) as server:
        url = server.url()
        server.until("Ready")
        first, again = (asked(server, url) for _ in range(2))
        assert (first.status_code, first.content) == (200, again.content)
        assert again.headers["idempotency-replayed"] == "true"
        found = [(r["end"], r["amount"] != 0) for r in read_records(tmp_path / "data")]
        assert sorted(found) == [("lost", False), ("ok", True)]


def test_a_kept_answer_survives_a_kill(tmp_path: Path) -> None:
    (tmp_path / "model_registry.yaml").write_text(REGISTRY % (WORDS, "0"))
    with serving(tmp_path) as server:
        url = server.url()
        server.until("Ready")
        first = asked(server, url, stream=True)
        server.ends(signal.SIGKILL)
    with serving(tmp_path) as server:
        url = server.url()
        server.until("Ready")
        assert asked(server, url, stream=True).content == first.content
        wait_until(lambda: len(read_records(tmp_path / "data")) == 1, "one record")
