"""The bound on records of 429s."""

from server.accounts.rejections import MOST_A_MINUTE, Rejections


def test_each_key_has_so_many_a_minute_and_then_none_until_the_next() -> None:
    now = 100.0
    rejections = Rejections(lambda: now)
    assert [rejections.has_room("a") for _ in range(MOST_A_MINUTE + 2)] == (
        [True] * MOST_A_MINUTE + [False] * 2
    )
    assert rejections.has_room("b")
    now += 59.9
    assert not rejections.has_room("a")
    now += 0.1
    assert rejections.has_room("a")
