"""Who has to wait after wrong passwords, by a clock of the test's own."""

from server.sign_in.failed_tries import (
    FIRST_WAIT_S,
    FREE_OF_ADDRESS,
    FREE_OF_PAIR,
    LONGEST_WAIT_S,
    MOST_KNOWN,
    FailedTries,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_to_a_quarter_of_an_hour_and_end() -> None:
    clock = Clock()
    tries = FailedTries(clock)
    waits = []
    for _ in range(FREE_OF_PAIR + 8):
        tries.begin("192.0.2.1", "ada")
        waits.append(tries.wait_s("192.0.2.1", "ada"))
    assert waits[: FREE_OF_PAIR - 1] == [0.0] * (FREE_OF_PAIR - 1)
    assert waits[FREE_OF_PAIR - 1 : FREE_OF_PAIR + 2] == [FIRST_WAIT_S * n for n in (1, 2, 4)]
    assert waits[-1] == LONGEST_WAIT_S
    clock.now += LONGEST_WAIT_S + 901
    assert tries.wait_s("192.0.2.1", "ada") == 0.0
    tries.begin("192.0.2.1", "ada")
    assert tries.wait_s("192.0.2.1", "ada") == 0.0


def test_names_are_compared_without_case_and_others_go_on() -> None:
    tries = FailedTries(Clock())
    for name in ("Ada", "ADA", "ada", "aDa", "adA"):
        tries.begin("192.0.2.1", name)
    assert tries.wait_s("192.0.2.1", "ada") > 0
    assert tries.wait_s("192.0.2.1", "bob") == 0
    assert tries.wait_s("192.0.2.2", "ada") == 0


def test_a_network_of_ipv6_is_one_address() -> None:
    tries = FailedTries(Clock())
    for host in range(FREE_OF_ADDRESS):
        tries.begin(f"2001:db8::{host:x}", f"name {host}")
    assert tries.wait_s("2001:db8::ffff", "anybody") > 0
    assert tries.wait_s("2001:db8:0:1::1", "anybody") == 0


def test_the_right_one_takes_its_try_back() -> None:
    tries = FailedTries(Clock())
    for _ in range(3 * FREE_OF_ADDRESS):
        tries.begin("192.0.2.1", "ada")
        tries.right("192.0.2.1", "ada")
    assert tries.wait_s("192.0.2.1", "ada") == 0


def test_a_flood_of_names_takes_a_bounded_memory() -> None:
    tries = FailedTries(Clock())
    for n in range(MOST_KNOWN):
        tries.begin(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"name {n}")
    assert len(tries._known) == MOST_KNOWN
