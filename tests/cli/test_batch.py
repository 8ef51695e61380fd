"""`fjord batch`: a file run to its end, its answers beside it, mistakes said in one line."""

import json
from pathlib import Path

import pytest

from tests.support.batches import chat_line
from tests.support.command import fjord_here as fjord
from tests.support.serving import Served, scripted, server_of

served = server_of(scripted("m"))


def written(folder: Path, *lines: object) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_answers_lie_beside_the_file(served: Served, tmp_path: Path) -> None:
    written(tmp_path, *(chat_line(i, f"hei {i}") for i in range(5)))
    done = fjord(tmp_path, "batch", "in.jsonl", "--url", served.url, "--api-key", served.key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["in.output.jsonl"]
    assert "completed: 5 of 5 answered" in done.stderr
    answers = (tmp_path / "in.output.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in answers] == [f"line-{i}" for i in range(5)]


def test_a_failed_line_is_in_the_status_and_in_its_file(served: Served, tmp_path: Path) -> None:
    written(tmp_path, chat_line(1, "x"), chat_line(2, "x", temperature=9))
    done = fjord(tmp_path, "batch", "in.jsonl", "--url", served.url, "--api-key", served.key)
    assert done.returncode == 1
    assert done.stdout.split() == ["in.output.jsonl", "in.errors.jsonl"]
    assert "1 of 2 answered, 1 failed" in done.stderr


def test_a_batch_is_come_back_to(served: Served, tmp_path: Path) -> None:
    written(tmp_path, chat_line(1, "x"))
    how = ("--url", served.url, "--api-key", served.key)
    first = fjord(tmp_path, "batch", "in.jsonl", *how)
    batch_id = first.stderr.split()[0]
    (tmp_path / "in.output.jsonl").unlink()
    again = fjord(tmp_path, "batch", "--resume", batch_id, "in.jsonl", *how)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "in.output.jsonl").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"custom_id": "a"}], "the first line is no request"),
        ([chat_line(1, "x"), chat_line(1, "x")], "in.jsonl:2: An earlier line has this custom_id"),
        ([chat_line(1, "x", model="nobody")], "nobody"),
    ],
)
def test_what_is_wrong_is_said(
    served: Served, tmp_path: Path, lines: list[object], said: str
) -> None:
    written(tmp_path, *lines)
    done = fjord(tmp_path, "batch", "in.jsonl", "--url", served.url, "--api-key", served.key)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    missing = fjord(tmp_path, "batch", "no.jsonl", "--url", served.url, "--api-key", served.key)
    assert missing.returncode == 2
    assert "no.jsonl cannot be read" in missing.stderr
