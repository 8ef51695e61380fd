"""What a running answer tells the ledger while it runs: only news."""

import time
from types import SimpleNamespace
from typing import Any

from server.fairness.gates import Gates
from server.requests.answer import GenerationRun
from server.requests.run_state import Event


def test_progress_is_noted_at_each_tick_where_there_is_some() -> None:
    forever = float("inf")
    record = SimpleNamespace(completion_tokens=0, alias="m", owner="tests")
    call: Any = SimpleNamespace(
        plan=SimpleNamespace(is_stream=True, sequences=1),
        record=record,
        deadline=forever,
        send_timeout_s=forever,
        keep_alive_s=forever,
        service_class="standard",
    )
    exchange: Any = SimpleNamespace(
        blocked_s=lambda now: 0.0, is_silent=lambda now, patience_s: False
    )
    noted: list[int] = []
    ledger: Any = SimpleNamespace(progress=lambda record: noted.append(record.completion_tokens))
    fleet: Any = SimpleNamespace()
    answer = GenerationRun(call, exchange, fleet, ledger, Gates())
    record.completion_tokens = 3
    answer.tick(time.monotonic())  # no engine generates yet
    answer.on(Event.GENERATE)
    for tokens in (0, 0, 5, 5, 9):
        record.completion_tokens = tokens
        answer.tick(time.monotonic())
    answer.on(Event.SETTLE)
    record.completion_tokens = 10
    answer.tick(time.monotonic())
    assert noted == [5, 9]
