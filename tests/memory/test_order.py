"""Background responses of one key run in the order in which they came."""

import asyncio
from pathlib import Path

import httpx
import pytest

from server.api.responses.key_lines import KeyLines
from server.ledger.records import KeyLimits
from tests.support.serving import read_records, scripted, serving, wait_until

URL = "/v1/responses"


def test_who_came_first_runs_first(tmp_path: Path) -> None:
    """Each is known by its tokens."""
    with serving(tmp_path, scripted("m", text="a " * 100, token_delay_s=0.001)) as served:
        headers = {"X-API-Key": served.new_key(limits=KeyLimits(concurrent=1))}
        with httpx.Client(base_url=served.url, headers=headers, timeout=60) as client:
            for number in range(1, 21):
                body = {"model": "m", "input": "x", "max_output_tokens": number}
                assert client.post(URL, json=body | {"background": True}).status_code == 200
            wait_until(lambda: len(read_records(tmp_path)) == 20, "all are over")
    assert [r["completion_tokens"] for r in read_records(tmp_path)] == list(range(1, 21))


@pytest.mark.anyio
async def test_nobody_passes_another_of_the_key() -> None:
    lines, order = KeyLines(), []

    async def run(number: int, work_s: float) -> None:
        lines.enter("k", number)
        while not lines.may_run("k", number, 2):
            await lines.moved(0.001)
        order.append(number)
        await asyncio.sleep(work_s)
        lines.leave("k", number)

    async def later(number: int) -> None:
        await asyncio.sleep(number * 0.001)
        await run(number, 0.002 * (number % 3))

    await asyncio.gather(*map(later, range(40)))
    assert all(abs(number - i) < 2 for i, number in enumerate(order))
    assert not lines._lines


@pytest.mark.anyio
async def test_one_that_gives_up_is_in_nobodys_way_and_keys_have_lines_of_their_own() -> None:
    lines = KeyLines()
    for turn in ("a", "b", "c"):
        lines.enter("k", turn)
    lines.enter("other", "d")
    assert [lines.may_run("k", turn, 1) for turn in "abc"] == [True, False, False]
    assert lines.may_run("other", "d", 1)
    lines.leave("k", "b")
    lines.leave("k", "b")
    lines.leave("k", "a")
    assert lines.may_run("k", "c", 1)
    assert not lines.may_run("gone", "x", 1)
