"""Signing in with a real issuer, oidc-provider from npm, as a browser does it."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from engines.registry.access import AccessEntry
from server.sign_in.issuers import Issuers
from server.sign_in.people import person_of
from tests.support.paths import ROOT

NODE = shutil.which("node")
HERE = ROOT / "tests/node"
BACK = "http://localhost/console/callback"
PEOPLE = {"ada": {"name": "Ada Lovelace", "email": "ada@acme.example", "groups": ["devs"]}}
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(
        NODE is None or not (HERE / "node_modules/oidc-provider").exists(),
        reason="needs Node and oidc-provider (`make clients`)",
    ),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def real_issuer(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    script = HERE / "oidc_issuer.mjs"
    with (tmp_path / "issuer.log").open("wb") as log:
        process = subprocess.Popen(
            [str(NODE), str(script), str(port), BACK],
            env={"PATH": os.environ["PATH"], "PEOPLE": json.dumps(PEOPLE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=HERE,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", (tmp_path / "issuer.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


async def test_a_real_issuer_says_who_it_is(tmp_path: Path) -> None:
    with real_issuer(tmp_path) as url:
        rule = {"claim": "groups", "has": "devs", "role": "member", "owner": "acme"}
        entry = {"name": "Staff", "issuer": url, "client_id": "fjord", "rules": [rule]}
        entry |= {"client_secret_env": "SECRET"}
        access = AccessEntry.model_validate({"issuers": [entry]})
        issuers = Issuers(lambda: access, environment={"SECRET": "a secret of the test"})
        flow = issuers.flow("Staff")
        assert flow is not None
        there, kept = await flow.begin(BACK)
        back = await _through_its_pages(there)
        assert back["state"] == kept["state"]
        claims = await flow.end(back["code"], kept)
        person = person_of(url, claims, flow.entry.rules[0])
        assert (person.subject, person.name) == ("ada", "Ada Lovelace")
        assert claims["groups"] == ["devs"]


async def _through_its_pages(url: str) -> dict[str, str]:
    """Log in, consent; what the browser brings back."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                target = answer.url.join(answer.headers["location"])
                if str(target).startswith(BACK):
                    return dict(target.params)
                answer = await browser.get(target)
            else:
                form = {"prompt": "login", "login": "ada", "password": "x"}
                if "consent" in answer.text and 'name="login"' not in answer.text:
                    form = {"prompt": "consent"}
                answer = await browser.post(answer.url, data=form)
        raise AssertionError(answer.text)
