"""A process that writes a ledger: to be killed, or to lose its disk."""

import asyncio
import resource
import sys
from collections.abc import Awaitable
from pathlib import Path

from server.ledger.errors import LedgerUnavailable
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord

STREAMS = 8


def record(record_id: str) -> UsageRecord:
    return UsageRecord(
        record_id=record_id,
        key_id=f"key of {record_id}",
        owner=f"owner of {record_id}",
        alias="a",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=1_700_000_000.0,
        end="ok",
        user=f"user of {record_id}",
        prompt_tokens=10,
        completion_tokens=1,
        price_input=1_000_000,
        price_output=1_000_000,
    )


async def serve(data_dir: Path, prefix: str) -> None:
    """Writes records for ever; tells of each step once the ledger has promised it."""
    ledger = Ledger.open(data_dir, node="n")
    await ledger.start()

    async def stream(number: int) -> None:
        for count in range(10**9):
            one = record(f"{prefix}-{number}-{count}")
            await ledger.begin(one)
            await ledger.opened(one)
            say("open", one)
            await ledger.close_record(one)
            say("done", one)

    await asyncio.gather(*(stream(number) for number in range(STREAMS)))


def say(step: str, one: UsageRecord) -> None:
    sys.stdout.write(f"{step} {one.record_id}\n")
    sys.stdout.flush()


async def fill_and_recover(data_dir: Path) -> None:
    """Runs where the limit of a file's size can be lowered and raised: in a process of its own. It
    writes no bytecode: Python 3.11 would leave the beginnings of some."""
    sys.dont_write_bytecode = True
    ledger = Ledger.open(data_dir, node="n")
    await ledger.start()
    ledger.writer.patience_s = 0.5
    await ledger.close_record(record("before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    in_flight = record("in-flight")
    await ledger.begin(in_flight)
    await ledger.opened(in_flight)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))

    refused = record("refused")
    await ledger.begin(refused)
    await refuses(ledger.opened(refused))
    assert "The ledger cannot be written" in (ledger.health() or "")
    await refuses(ledger.begin(record("refused-at-once")))
    closing_one = asyncio.ensure_future(ledger.close_record(in_flight))
    held_back = asyncio.ensure_future(ledger.close_record(refused, is_delivered=False))
    for closing_record in (closing_one, held_back):
        await refuses(closing_record)

    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await ledger.close_record(record("after"))
    assert ledger.health() is None
    await ledger.stop()


async def refuses(work: Awaitable[None]) -> None:
    try:
        await work
    except LedgerUnavailable:
        return
    raise AssertionError("the ledger took work that it cannot write")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(Path(sys.argv[2]), sys.argv[3]))
    else:
        asyncio.run(fill_and_recover(Path(sys.argv[2])))
