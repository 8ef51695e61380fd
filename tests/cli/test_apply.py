"""`fjord apply` and SIGHUP: a running server reads its registry again, and cuts nobody."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.adapters import adapter_folder
from tests.support.command import fjord_here as fjord
from tests.support.serve_process import Server, ask, serving, serving_registry
from tests.support.serving import read_records, wait_until

pytestmark = pytest.mark.slow  # processes of their own

REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {token_delay_s: 0.03}
    context: 4K
    output: 1K
    price: {input: "1.00", output: "2.00"}
    load: start
  other: {source: two, engine: scripted, context: 4K, output: 1K}
profiles:
  embedded: {}
"""


class Site:
    """A running server whose registry a test may write anew."""

    def __init__(self, server: Server) -> None:
        self.server, self.file = server, server.home / "model_registry.yaml"
        self.url, self.key = f"http://127.0.0.1:{server.port}", server.key()

    def write(self, *replaced: tuple[str, str]) -> None:
        text = REGISTRY
        for before, after in replaced:
            assert before in text
            text = text.replace(before, after, 1)
        self.file.write_text(text)

    def apply(self, *flags: str) -> str:
        shown = fjord(self.server.home, "apply", "--port", self.server.port, *flags)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    def ask(self, model: str) -> httpx.Response:
        return ask(self.url, self.key, model=model)

    def details(self) -> dict[str, dict[str, Any]]:
        headers = {"X-API-Key": self.key}
        listed = httpx.get(f"{self.url}/v1/models?details=true", headers=headers).json()["data"]
        return {model["id"]: model for model in listed}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_registry(tmp_path_factory.mktemp("applied"), REGISTRY) as server:
        yield server


@pytest.fixture
def site(server: Server) -> Iterator[Site]:
    site = Site(server)
    yield site
    site.write()
    site.apply()


def test_prices_limits_and_names_hold_for_new_requests(site: Site) -> None:
    assert site.apply() == "Nothing differs.\n"
    assert site.ask("uno").status_code == 404
    other = ('"2.00"}', '"3.00"}\n    also_known_as: [uno]')
    site.write(other, ("output: 1K", "output: 2K"))
    assert site.apply("--dry-run").splitlines() == [
        "tiny: changed (also_known_as, output_tokens, price)",
        "Nothing was changed (--dry-run).",
    ]
    assert site.ask("uno").status_code == 404
    assert site.apply() == "tiny: changed (also_known_as, output_tokens, price)\n"
    assert site.ask("uno").status_code == 200
    tiny = site.details()["tiny"]
    assert (tiny["output_tokens"], tiny["price"]["output"]) == (2048, "3.000000")


def test_a_model_appears_and_one_goes_with_its_requests(site: Site) -> None:
    gone = "  other: {source: two"
    site.write((gone, "  new: {source: three"))
    assert site.apply() == "new: added\nother: removed\n"
    assert site.ask("new").status_code == 200
    refused = site.ask("other")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert list(site.details()) == ["tiny", "new"]
    metrics = httpx.get(f"{site.url}/metrics").text
    assert 'fjord_requests_total{alias="new",endpoint="chat",status="200"} 1.0' in metrics


def test_other_arguments_restart_one_engine_and_end_no_stream(site: Site) -> None:
    headers = {"X-API-Key": site.key}
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "a b c d e"}]}
    path = f"{site.url}/v1/chat/completions"
    with httpx.stream("POST", path, json=body, headers=headers, timeout=30) as answer:
        events = (line for line in answer.iter_lines() if line.startswith("data:"))
        next(events)
        site.write(("0.03", "0.001"))
        assert site.apply() == "tiny: restarted (engine)\n"
        late = site.ask("tiny")
        assert list(events)[-1] == "data: [DONE]"
    assert late.status_code == 200
    listed = json.loads(
        fjord(site.server.home, "models", "--port", site.server.port, "--json").stdout
    )
    assert [model["alias"] for model in listed] == ["tiny", "other"]


def test_another_number_of_replicas_adds_or_drains_the_difference_and_ends_no_stream(
    site: Site,
) -> None:
    def row() -> str:
        shown = fjord(site.server.home, "models", "--port", site.server.port).stdout
        (found,) = [line for line in shown.splitlines() if line.startswith("tiny ")]
        return found

    def until(told: str) -> None:
        wait_until(lambda: told in row(), f"fjord models says {told}", 30)

    assert "  ready " in row()
    site.write(("load: start", "load: start\n    replicas: 3"))
    assert site.apply("--dry-run").startswith("tiny: changed (replicas)\n")
    assert site.apply() == "tiny: changed (replicas)\n"
    until("3/3 ready")

    def running() -> int:
        engines = httpx.get(f"{site.url}/ready").json()["engines"]
        return sum(engine["requests"] for engine in engines)

    body = {"model": "tiny", "stream": True, "prompt": "a b", "ignore_eos": True, "max_tokens": 120}
    url, key = f"{site.url}/v1/completions", {"X-API-Key": site.key}
    with ThreadPoolExecutor(6) as threads:
        post = partial(httpx.post, url, headers=key, json=body, timeout=60)
        answers = [threads.submit(post) for _ in range(6)]
        wait_until(lambda: running() == 6, "six run", 30)
        site.write(("load: start", "load: start\n    replicas: 2"))
        assert site.apply() == "tiny: changed (replicas)\n"
        assert all(a.result(60).text.endswith("data: [DONE]\n\n") for a in answers)
    until("2/2 ready")
    site.write()
    site.apply()
    until("  ready ")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("context: 4K", "contxt: 4K", "model_registry.yaml:6: model 'tiny', key 'contxt': unknown"),
        ("models:", "currency: EUR\nmodels:", "currency: EUR instead of NOK needs a restart"),
        ("models:", "models: [", "is not YAML"),
    ],
)
def test_a_broken_file_changes_nothing_and_says_where(
    site: Site, before: str, after: str, said: str
) -> None:
    shown_before = site.details()
    site.write((before, after), ("other: {source: two", "new: {source: two"))
    ended = fjord(site.server.home, "apply", "--port", site.server.port)
    assert ended.returncode == 2
    assert said in ended.stderr
    site.server.process.send_signal(signal.SIGHUP)
    site.server.until("the registry stays as it was")
    assert site.details() == shown_before


def test_a_hangup_reads_the_file_again(site: Site) -> None:
    site.write(("other: {source: two", "new: {source: two"))
    site.server.process.send_signal(signal.SIGHUP)
    site.server.until("read again; models that differ: 2")
    assert list(site.details()) == ["tiny", "new"]


def test_models_of_the_command_line_have_no_file(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "mine=hei", "--engine", "scripted", "--no-auth") as server:
        server.url()
        ended = fjord(tmp_path, "apply", "--port", server.port)
    assert ended.returncode == 2
    assert "These models are of the command line" in ended.stderr


def test_an_adapter_comes_and_goes_while_its_base_serves(site: Site) -> None:
    adapter_folder(site.server.home / "lora")
    entry = "  tuned: {adapter: ./lora, base: tiny, price: {input: '9.00', output: '9.00'}}\n"
    loads = site.details()["tiny"]["state"]
    site.write(("profiles:", f"{entry}profiles:"))
    assert site.apply() == "tuned: added\n"
    assert site.details()["tuned"]["price"]["output"] == "9.000000"
    assert site.details()["tiny"]["state"] == loads, "no engine was started"
    said = site.ask("tuned").json()["choices"][0]["message"]["content"]
    assert said.startswith("lora:")
    assert not site.ask("tiny").json()["choices"][0]["message"]["content"].startswith("lora:")
    record = read_records(site.server.home / "data")[-2]
    assert (record["alias"], record["price_output"]) == ("tuned", 9_000_000)
    assert record["weights"] == f"tiny+{site.server.home / 'lora'}".replace("tiny", "echo")
    site.write(("profiles:", "  tuned: {adapter: ./none, base: tiny}\nprofiles:"))
    wrong = fjord(site.server.home, "apply", "--port", site.server.port)
    assert wrong.returncode != 0
    assert "'./none' is no folder" in wrong.stderr
    assert site.ask("tuned").status_code == 200, "a file with a mistake changes nothing"
    site.write()
    assert site.apply() == "tuned: removed\n"
    assert site.ask("tuned").status_code == 404
