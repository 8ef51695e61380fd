"""How long a commit waits for companions: as long as there are some to come."""

import pytest

from server.ledger.gathering import FEW_IN_FLIGHT, MOST_S, Gathering


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Writer:
    """In simulated time: writes come, and each is committed after the wait that there is."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.clock = Clock()
        self.gathering = Gathering(self.clock)
        self.waits: list[float] = []
        self.commits = 0

    def _committed(self, count: int) -> None:
        self.clock.now += 0.0005
        self.gathering.wrote(count)
        self.commits += 1
        wait = self.gathering.wait_s(self.in_flight)
        self.waits.append(wait)
        self.clock.now += wait

    def at_rate(self, rate: float, seconds: float) -> None:
        """Whatever the waits are."""
        end, next_at = self.clock.now + seconds, self.clock.now
        while self.clock.now < end:
            self.clock.now = max(self.clock.now, next_at)
            came = max(1, int((self.clock.now - next_at) * rate) + 1)
            next_at += came / rate
            self._committed(came)

    def one_after_the_other(self, count: int) -> None:
        """Each begins 2 ms after the last was committed."""
        for _ in range(count):
            self.clock.now += 0.002
            self._committed(1)


@pytest.mark.parametrize("in_flight", [0, 1, FEW_IN_FLIGHT])
def test_few_wait_for_nobody(in_flight: int) -> None:
    writer = Writer(in_flight)
    writer.at_rate(500, 2)
    assert set(writer.waits) == {0.0}


@pytest.mark.parametrize(("in_flight", "rate"), [(64, 240), (256, 240), (512, 400), (10_000, 2000)])
def test_a_busy_writer_shares_commits(in_flight: int, rate: float) -> None:
    writer = Writer(in_flight)
    writer.at_rate(rate, 2)
    writer.commits = 0
    writer.at_rate(rate, 4)
    assert writer.commits / 4 < 60
    assert max(writer.waits) <= MOST_S


@pytest.mark.parametrize("in_flight", [100, 10_000])
def test_requests_beside_many_idle_ones_wait_little(in_flight: int) -> None:
    writer = Writer(in_flight)
    writer.one_after_the_other(200)
    assert max(writer.waits[20:]) < 0.012
    assert sum(writer.waits[20:]) / 180 < 0.008


def test_a_request_after_a_pause_does_not_wait_for_what_was() -> None:
    writer = Writer(500)
    writer.at_rate(1000, 2)
    writer.clock.now += 10
    writer.one_after_the_other(1)
    assert writer.waits[-1] < 0.001
