"""`fjord batch`: a file run to its end, its answers beside it, mistakes said in one line."""

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.batches import chat_line, is_over
from tests.support.command import fjord_here as fjord
from tests.support.serve_process import FJORD, environment
from tests.support.serving import Served, scripted, server_of, wait_until

ENDLESS = scripted("endless", text="word " * 400, token_delay_s=1.0)
served = server_of(scripted("m"), ENDLESS)


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


@pytest.mark.parametrize(
    ("flags", "said", "becomes"),
    [
        ((), "To come back: fjord batch --resume {} in.jsonl", "in_progress"),
        (("--cancel-on-interrupt",), "{} is cancelled.", "cancelled"),
    ],
)
def test_a_ctrl_c_leaves_it_running_or_cancels_it(
    served: Served,
    client: httpx.Client,
    tmp_path: Path,
    flags: tuple[str, ...],
    said: str,
    becomes: str,
) -> None:
    written(tmp_path, chat_line(1, "x", model="endless"))
    known = {each["id"] for each in client.get("/v1/batches").json()["data"]}
    command = subprocess.Popen(
        [*FJORD, "batch", "in.jsonl", "--url", served.url, "--api-key", served.key, *flags],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    batch_id = command.stderr.readline().split()[0]  # it is being followed
    assert batch_id not in known
    wait_until(lambda: status_of(client, batch_id) == "in_progress", "it runs")
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=30)
    assert command.returncode == 130
    assert said.format(batch_id) in told
    assert "Traceback" not in told
    if becomes == "cancelled":
        assert is_over(client, batch_id)["status"] == "cancelled"
    else:
        assert status_of(client, batch_id) == "in_progress"
        client.post(f"/v1/batches/{batch_id}/cancel")
        is_over(client, batch_id)


def status_of(client: httpx.Client, batch_id: str) -> str:
    return str(client.get(f"/v1/batches/{batch_id}").json()["status"])
