"""What a batch of a million lines takes of memory: checked, kept, its output made; no engine.

python -m benchmarks.batch_memory --lines 1000000
"""

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.batch_kills import input_lines
from server.batches.batch_run import FOLDER
from server.batches.checking import LineBounds, checked
from server.batches.database import BatchDatabase
from server.batches.files import FileStore
from server.batches.outputs import answer_text, make_outputs
from server.batches.results import Results
from server.batches.store import Batch

CHAT = "/v1/chat/completions"
BODY = json.dumps({"choices": [{"message": {"content": "words " * 60}}]}).encode()


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measured(folder: Path, lines: int) -> dict[str, float]:
    files = FileStore(BatchDatabase(folder), 10**12, 10**12)
    part = files.begin("o")
    for line in input_lines(lines):
        part.write_unbound(line)
    file = part.place("in.jsonl", "batch")
    (folder / FOLDER).mkdir()
    found: dict[str, float] = {"lines": lines, "input_mb": round(file.bytes / 1e6, 1)}
    found["peak_before_mb"], began = peak_mb(), time.monotonic()
    bounds = LineBounds(endpoint=CHAT, most_bytes=2**23, most_lines=lines)
    assert checked(files.path(file.file_id), folder / FOLDER / "ids", bounds).total == lines
    found |= {"check_s": round(time.monotonic() - began, 1), "peak_checked_mb": peak_mb()}
    batch = Batch(
        batch_id="batch_1",
        owner="o",
        key_id="k",
        endpoint=CHAT,
        input_file_id=file.file_id,
        completion_window="24h",
        created_at=0,
        expires_at=0,
        total=lines,
    )
    results = Results(folder / FOLDER / "batch_1.sqlite3")
    results.open()
    with sqlite3.connect(results.path) as connection:
        rows = (
            (n, 0, 1, "{}", answer_text(batch, n, f"id-{n}", 200, f"r-{n}", BODY))
            for n in range(1, lines + 1)
        )
        connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    results.done(lines)
    began = time.monotonic()
    done, _ = make_outputs(batch, results, files, 2**23)
    assert done.completed == lines
    return found | {"outputs_s": round(time.monotonic() - began, 1), "peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = msgspec.json.format(msgspec.json.encode(measured(Path(folder), given.lines)))
    print(text.decode())
    if given.json is not None:
        given.json.write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
