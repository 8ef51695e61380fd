"""Merging tokens under load: never for few streams, never for longer than the bound."""

from types import SimpleNamespace

import pytest

from engines.vllm_pace import DELAY_S, LONGEST, interval_for, set_interval


@pytest.mark.parametrize("streams", [0, 1, 8])
def test_few_streams_get_every_token_at_once(streams: int) -> None:
    assert interval_for(streams, 10_000) == 1


@pytest.mark.parametrize("streams", [9, 64, 128, 512])
@pytest.mark.parametrize("tokens_per_s", [10, 1_000, 10_000, 1e9])
def test_no_token_waits_longer_than_the_bound(streams: int, tokens_per_s: float) -> None:
    interval = interval_for(streams, tokens_per_s)
    assert 1 <= interval <= LONGEST
    assert (interval - 1) * streams / tokens_per_s <= DELAY_S


def test_many_fast_streams_are_merged() -> None:
    assert interval_for(64, 8_000) >= 4


def test_a_change_of_interval_neither_doubles_nor_loses_a_token() -> None:
    state = SimpleNamespace(stream_interval=1, sent_tokens_offset=0)
    set_interval(state, 7, 4)
    assert (state.stream_interval, state.sent_tokens_offset) == (4, 7)
    set_interval(state, 9, 1)
    assert (state.stream_interval, state.sent_tokens_offset) == (2, 7)
    state.sent_tokens_offset = 9
    set_interval(state, 9, 1)
    assert state.stream_interval == 1
