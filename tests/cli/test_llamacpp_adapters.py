"""Adapters on llama.cpp while a server runs: an apply starts their engine again, and cuts none."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_folder
from tests.support.command import fjord_here as fjord
from tests.support.lora_ggufs import tiny_gguf
from tests.support.serve_process import Server, ask, serving_registry
from tests.support.serving import read_records

pytestmark = pytest.mark.slow  # processes of their own

REGISTRY = """\
models:
  base:
    source: ./base.gguf
    engine: llamacpp
    args: {n_ctx: 4096, cpuparams.n_threads: 1, cpuparams_batch.n_threads: 1}
    context: 4K
    output: 3K
    price: {input: "1", output: "2"}
    load: start
    replicas: 2
  one: {adapter: ./one, base: base, price: {input: "3", output: "4"}}
profiles:
  embedded: {}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = make_llama(tmp_path / "tiny", seed=1)
    tiny_gguf(made, tmp_path / "base.gguf")
    for seed, name in enumerate(("one", "two"), 1):
        folder = adapter_folder(tmp_path / name, seed=seed)
        tiny_gguf(made, tmp_path / f"{name}.gguf", adapter=folder)
    with serving_registry(tmp_path, REGISTRY) as server:
        yield server


def said(server: Server, model: str) -> str:
    fields = {"max_tokens": 16, "temperature": 0, "ignore_eos": True}
    answer = ask(f"http://127.0.0.1:{server.port}", server.key(), model=model, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_adapters_come_with_an_apply_and_no_stream_is_cut(server: Server) -> None:
    assert said(server, "base") != said(server, "one")
    before = [said(server, "base"), said(server, "one")]
    url, key = f"http://127.0.0.1:{server.port}", server.key()
    body = {
        "model": "one",
        "stream": True,
        "messages": [{"role": "user", "content": "hei"}],
        "max_tokens": 3000,
        "ignore_eos": True,
    }
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers={"X-API-Key": key}, timeout=60
    ) as answer:
        events = (line for line in answer.iter_lines() if line.startswith("data:"))
        next(events)
        two = "  two: {adapter: ./two, base: base}\nprofiles:"
        (server.home / "model_registry.yaml").write_text(REGISTRY.replace("profiles:", two))
        applied = fjord(server.home, "apply", "--port", server.port)
        assert applied.stdout.splitlines() == [
            "base: restarted (engine)",
            "one: restarted (engine)",
            "two: added",
        ]
        rest = list(events)
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data:"))["choices"][0]["finish_reason"] == "length"
    with ThreadPoolExecutor(12) as pool:  # on both replicas
        order = ["base", "one", "two"] * 8
        answers = list(pool.map(lambda model: said(server, model), order))
    assert answers[:2] == before
    assert answers == answers[:3] * 8
    assert len(set(answers)) == 3
    records = read_records(server.home / "data")
    assert max(record["completion_tokens"] for record in records) == 3000
    assert {(r["alias"], r["price_output"]) for r in records} == {
        ("base", 2_000_000),
        ("one", 4_000_000),
        ("two", 2_000_000),
    }
