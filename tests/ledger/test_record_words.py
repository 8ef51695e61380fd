"""What clients call their agents and users is bounded before it is stored."""

import pytest

from server.ledger.records import WORD_BYTES, bound_words
from tests.support.shipping import record

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("letter", ["x", "ø", "語", "😀"])
def test_what_clients_call_their_agents_is_bounded_before_it_is_stored(letter: str) -> None:
    one = record(1, agent_id=letter * 8000, user=letter * 2_000_000)
    bound_words(one)
    for word in (one.agent_id, one.user):
        assert word is not None
        assert set(word) == {letter}
        assert WORD_BYTES - 4 < len(word.encode()) <= WORD_BYTES
    short = record(2, agent_id=letter * 100, user=None)
    bound_words(short)
    assert (short.agent_id, short.user) == (letter * 100, None)
