"""A server of four tiny models with memory for two, and its ledger beside what clients saw."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import ROOT
from benchmarks.soak import LIMITS, fjord, wait_until_ready
from benchmarks.tiny_gguf import make_gguf
from engines.testing.tiny import make_llama
from engines.weights.packaged_model import gguf_path
from server.ledger.sqlite import connect, prepared_ledger

if TYPE_CHECKING:
    from benchmarks.fleet_crowd import Ended

LLAMACPP, VLLM = ("alpha", "beta"), ("gamma", "delta")
ALIASES = (*LLAMACPP, *VLLM)
ENDS_S = 60.0
START_S = 90
"""An engine that is stopped while it starts is given up then."""
_MODEL = (
    "  {}: {{source: {}, engine: {}, context: 4K, output: 1K, args: {}, price: {},"
    f" start_timeout: {START_S}}}}}\n"
)
_PRICE = json.dumps({"input": "5.00", "output": "10.00"})
_VLLM_ARGS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**28}


class ServedSite:
    """A `fjord serve` of a registry of its own; `folder` holds everything of it."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder = folder
        self.registry = folder / "registry.yaml"
        self.registry.write_text(registry)
        self.data = folder / "data"
        self.port, self.key, self.pid = 0, "", 0

    @contextmanager
    def serving(self, *more: str) -> Iterator[None]:
        """With these options, too. Raises SystemExit where it does not start."""
        prepared_ledger(self.data)
        places = ["--data-dir", str(self.data)]
        made = _output("keys", "create", "--name", "soak", "--json", *places)
        self.key = json.loads(made)["key"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        serve = ["serve", "--registry", str(self.registry), "--profile", "embedded", *places]
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                fjord(*serve, "--port", str(self.port), *more),
                env={**os.environ, **LIMITS},
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        try:
            wait_until_ready(process, self.port)
            self.pid = process.pid
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(ENDS_S)

    def told(self, *words: str) -> str:
        """What a command of its operator says. Raises CalledProcessError."""
        return _output(*words, "--port", str(self.port), "--data-dir", str(self.data))

    def records(self) -> dict[str, dict[str, Any]]:
        """Of the ledger, by the request's id."""
        connection = connect(prepared_ledger(self.data))
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM usage_records")]
        connection.close()
        return {row["record_id"]: row for row in rows}


class FleetSite(ServedSite):
    """Four models, and memory for one of each kind."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _registry(folder))

    @contextmanager
    def serving(self, *more: str) -> Iterator[None]:
        with super().serving("--engine-memory", f"{self._gigabytes():.3f}", *more):
            yield

    def loads(self) -> dict[str, int]:
        """How often each model became ready."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "fjord_engine_loads_total":
                    found[self._alias_of(sample.labels["engine"])] += int(sample.value)
        return dict(found)

    def differences(self, ended: "Sequence[Ended]") -> list[str]:
        """Where the ledger, once the server has ended, does not say what the clients saw."""
        records = self.records()
        found = [difference(each, records.get(each.request_id)) for each in ended]
        return [text for text in found if text is not None]

    def _alias_of(self, engine: str) -> str:
        return next(alias for alias in ALIASES if f"{alias}:" in engine or f"{alias}." in engine)

    def _gigabytes(self) -> float:
        """For one engine of each kind, and not for a third."""
        asked = ["--registry", str(self.registry), "--profile", "embedded", "--json"]
        engines = json.loads(_output("plan", *asked))["engines"]
        sizes = {each["aliases"][0]: _planned(each) for each in engines}
        return (sizes[VLLM[0]] + 1.5 * sizes[LLAMACPP[0]]) / 1e9


def _registry(folder: Path) -> str:
    lines = ["models:\n"]
    for seed, alias in enumerate(LLAMACPP):
        path = make_gguf(gguf_path(), folder / f"{alias}.gguf", seed)
        lines.append(_MODEL.format(alias, path, "llamacpp", "{}", _PRICE))
    for seed, alias in enumerate(VLLM):
        path = make_llama(folder / alias, seed)
        lines.append(_MODEL.format(alias, path, "vllm", json.dumps(_VLLM_ARGS), _PRICE))
    return "".join([*lines, "profiles:\n  embedded: {}\n"])


def difference(ended: "Ended", record: dict[str, Any] | None) -> str | None:
    """What is wrong about a request's record; None: nothing."""
    name = f"{ended.alias} {ended.request_id} ({ended.end})"
    if record is None:
        return f"{name} has no record"
    billed = record["prompt_tokens"], record["completion_tokens"]
    if ended.completion_tokens is not None:
        said = ended.prompt_tokens, ended.completion_tokens
        return None if billed == said else f"{name}: billed {billed}, said {said}"
    if ended.pieces > (record["completion_tokens"] or 0):
        return f"{name}: {ended.pieces} pieces, billed {billed}"
    if not ended.pieces and record["amount"]:
        return f"{name}: nothing was delivered, billed {billed}"
    return None


def _planned(engine: dict[str, Any]) -> int:
    each = engine["per_card"]
    return int(each["weights_bytes"] + each["reserve_bytes"] + engine["kv_cache_bytes_per_card"])


def _output(*arguments: str) -> str:
    done = subprocess.run(fjord(*arguments), check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout
