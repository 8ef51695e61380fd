"""A process with open requests of several keys of one owner, to be killed."""

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from server.ledger.ledger import Ledger
from tests.ledger.test_budgets import CAP, record
from tests.support.tenants import new_key, new_member, new_owner, tokens

KEYS, CLOSED, OPEN = 4, 10, 12


async def serve(data_dir: Path) -> None:
    ledger = Ledger.open(data_dir, node="n")
    with closing(ledger.open_books()) as books:
        new_owner(books, budget=tokens(10**6))
        member = new_member(books, budget=tokens(10**6))
        keys = [new_key(books, member_id=member.member_id) for _ in range(KEYS)]
    await ledger.start()
    for number in range(CLOSED + OPEN):
        one = record(f"r{number}", keys[number % KEYS], tokens=0)
        await ledger.begin(one, reserve_micro=CAP, reserve_tokens=CAP)
        await ledger.opened(one)
        one.prompt_tokens, one.completion_tokens = 3, number
        ledger.progress(one)
        if number < CLOSED:
            await ledger.close_record(one)
    ledger.write_progress()  # how far they got is queued
    await asyncio.wrap_future(ledger.writer.call(lambda _: None))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
