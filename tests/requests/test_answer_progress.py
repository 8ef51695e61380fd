"""What a running answer tells the ledger while it runs: only news."""

import time
from types import SimpleNamespace
from typing import Any

from server.requests.answer import PROGRESS_S, GenerationRun


def test_progress_is_noted_at_intervals_and_only_where_there_is_some() -> None:
    forever = float("inf")
    record = SimpleNamespace(completion_tokens=0)
    call: Any = SimpleNamespace(
        plan=SimpleNamespace(is_stream=True),
        record=record,
        deadline=forever,
        send_timeout_s=forever,
        keep_alive_s=forever,
    )
    exchange: Any = SimpleNamespace(blocked_s=lambda now: 0.0, silent_s=lambda now: 0.0)
    noted: list[int] = []
    ledger: Any = SimpleNamespace(progress=lambda record: noted.append(record.completion_tokens))
    answer = GenerationRun(call, exchange, SimpleNamespace(), ledger)  # type: ignore[arg-type]
    answer._engine = SimpleNamespace()
    began = time.monotonic()
    for number, tokens in enumerate([0, 0, 5, 5, 9], start=1):
        record.completion_tokens = tokens
        answer.tick(began + number * (PROGRESS_S + 0.1))
        answer.tick(began + number * (PROGRESS_S + 0.1) + 0.1)
    assert noted == [5, 9]
