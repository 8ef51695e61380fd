"""Limits hold for a site: shares of virtual nodes on a real PostgreSQL, in virtual time."""

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from server.accounts.limits import Admission, ConcurrencyLimited, LimitExceeded
from tests.support.shared_limits import VirtualNode, VirtualSite, caller, settled, virtual_site
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow
FAST = {"concurrent": 10**6}


@pytest.fixture(scope="module")
def site_url() -> Iterator[str]:
    with postgres_server() as running:
        yield new_site(running)


@pytest.fixture
def site(site_url: str) -> Iterator[VirtualSite]:
    with virtual_site(site_url) as made:
        yield made


def nodes_of(site: VirtualSite, count: int) -> list[VirtualNode]:
    """That know of each other; their clocks are far apart."""
    nodes = [VirtualNode(site, f"n{i}/a", offset_s=(-1) ** i * i * 60.0) for i in range(count)]
    settled(site, *nodes)
    return nodes


def test_one_node_alone_has_all_at_once(site: VirtualSite) -> None:
    (node,) = nodes_of(site, 1)
    assert node.send(caller(requests_per_minute=100, burst=20, **FAST), 1000) == 120


def test_two_nodes_admit_no_more_than_the_limit_and_each_its_half_at_once(
    site: VirtualSite,
) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    assert (one.send(who, 500), two.send(who, 500)) == (50, 50)


def test_one_busy_node_has_nearly_all_within_seconds(site: VirtualSite) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=1000, burst=0, **FAST)
    admitted = [one.send(who, 1000)]
    for _ in range(8):
        for node in (one, two):
            node.exchange()
        site.now += 0.5
        admitted.append(one.send(who, 1000))
    assert admitted[0] == 500
    assert sum(admitted[:4]) >= 750
    assert 980 <= sum(admitted) <= 1000


@pytest.mark.parametrize("seed", range(6))
def test_no_minute_holds_more_than_the_limit_however_requests_and_exchanges_come(
    site: VirtualSite, seed: int
) -> None:
    """Random arrivals, answers that are lost, a node that joins, one that dies and comes again."""
    rng = random.Random(seed)
    limit, count = rng.choice([(7, 3), (60, 2), (200, 5), (1000, 3), (30, 5)])
    who = caller(requests_per_minute=limit, burst=0, **FAST)
    nodes = nodes_of(site, count)
    for step in range(500):
        site.now += rng.uniform(0.05, 0.5)
        node = rng.choice(nodes)
        if rng.random() < 0.8:
            node.exchange(is_answered=rng.random() > 0.1)
        for _ in range(rng.randrange(3)):
            rng.choice(nodes).send(who, rng.choice([1, 1, 2, limit // 3 + 1, limit]))
        if step == 250:
            nodes[0] = VirtualNode(site, "n0/b")  # it was killed, and starts again
    assert limit * 0.5 < site.most <= max(limit, count) + 1


def turns(site: VirtualSite, seconds: float, *nodes: VirtualNode) -> None:
    """Half a second at a time; nodes that are not named are silent."""
    for _ in range(round(seconds * 2)):
        site.now += 0.5
        for node in nodes:
            node.exchange()


@pytest.mark.parametrize("seed", range(4))
def test_no_moment_holds_more_slots_than_the_limit(site: VirtualSite, seed: int) -> None:
    rng = random.Random(seed)
    limit, count = rng.choice([(4, 2), (6, 3), (50, 2), (100, 5)])
    who = caller(requests_per_minute=10**6, concurrent=limit)
    nodes, held, most = nodes_of(site, count), [], 0
    for _ in range(600):
        site.now += rng.uniform(0.05, 0.4)
        rng.choice(nodes).exchange(is_answered=rng.random() > 0.1)
        for _ in range(rng.randrange(limit)):
            node = rng.choice(nodes)
            if (admission := node.ask(who)) is not None:
                held.append((node, admission))
                wide(node, admission, rng.choice([1, 1, 2, 3]))
        most = max(most, sum(node.limiter.in_flight(who) for node in nodes))
        rng.shuffle(held)
        while held and rng.random() < 0.7:
            node, admission = held.pop()
            node.limiter.release(admission)
    assert limit * 0.6 < most <= limit


def wide(node: VirtualNode, admission: Admission, sequences: int) -> None:
    with suppress(LimitExceeded):
        node.limiter.widen(admission, sequences)


def test_tokens_of_all_nodes_count_and_each_goes_over_by_what_it_had_running(
    site: VirtualSite,
) -> None:
    nodes, used = nodes_of(site, 3), 0
    who = caller(requests_per_minute=10**6, tokens_per_minute=3000, **FAST)
    for _ in range(20):
        for node in nodes:
            while (admission := node.ask(who)) is not None:
                node.limiter.release(admission, tokens=70)
                used += 70
        turns(site, 0.5, *nodes)
    assert 3000 <= used < 3000 + 3 * 70


def test_a_killed_nodes_slots_and_requests_end_after_seventy_seconds(site: VirtualSite) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=100, burst=0, concurrent=10)
    assert len([a for a in (one.ask(who) for _ in range(9)) if a]) == 5
    turns(site, 2, one, two)
    assert len([a for a in (one.ask(who) for _ in range(9)) if a]) >= 3
    turns(site, 1, one, two)
    turns(site, 60, two)  # one was killed
    before = two.ask(who), two.ask(who), two.ask(who)
    assert before[2] is None
    turns(site, 12, two)
    slots = [two.ask(who) for _ in range(20)]
    assert sum(each is not None for each in (*before, *slots)) == 10


def test_a_node_that_is_cut_off_adds_at_most_its_equal_part(site: VirtualSite) -> None:
    nodes = nodes_of(site, 4)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    for second in range(150):
        for number in (0, 1, 2, 3, 0):
            nodes[number].send(who, 30)
        turns(site, 1, *nodes[: 4 if second < 20 else 3])
    assert 100 <= site.most <= 100 + 100 // 4


def test_while_the_database_is_away_the_limit_holds_and_each_goes_on(site: VirtualSite) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    for _ in range(10):
        one.send(who, 30)
        turns(site, 0.5, one, two)
    assert two.send(who, 30) <= 2
    late = 0
    for _ in range(400):  # nobody exchanges
        site.now += 0.5
        late += two.send(who, 5)
        one.send(who, 5)
    assert site.most <= 100
    assert late >= 2 * 50, "after a minute each has its half again"
    for _ in range(40):
        for node in (one, two):
            node.joins = True
        turns(site, 0.5, one, two)
        one.send(who, 30)
        two.send(who, 30)
    assert site.most <= 100


def test_a_database_that_crashed_and_forgot_all_shares_makes_no_room(site: VirtualSite) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    for _ in range(10):
        one.send(who, 9)
        turns(site, 0.5, one, two)
    site.books.execute("TRUNCATE limit_shares")
    for node in (two, one):
        node.joins = True
    for _ in range(20):
        two.send(who, 100)
        two.exchange()
        site.now += 0.2
        one.send(who, 100)
        one.exchange()
    assert site.most == 100


def test_a_lower_limit_holds_for_all_as_soon_as_they_know_it(site: VirtualSite) -> None:
    one, two = nodes_of(site, 2)
    rich = caller(requests_per_minute=1000, burst=0, **FAST)
    assert one.send(rich, 40) + two.send(rich, 3) == 43
    turns(site, 1, one, two)
    poor = caller(requests_per_minute=50, burst=0, **FAST)
    admitted = 0
    for _ in range(20):
        admitted += one.send(poor, 50) + two.send(poor, 50)
        turns(site, 0.5, one, two)
    assert admitted <= 25, "the half of the lower limit: the other has used more than its own"
    again = caller(requests_per_minute=1000, burst=0, **FAST)
    one.send(again, 1)
    turns(site, 1, one, two)
    assert one.send(again, 400) >= 200


def test_who_is_refused_for_the_share_alone_is_admitted_after_the_wait_it_was_told(
    site: VirtualSite,
) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=1000, burst=0, concurrent=4)
    held = [one.ask(who) for _ in range(3)]
    assert held[2] is None
    with pytest.raises(ConcurrencyLimited, match="the site gives it more within 2 seconds") as told:
        one.limiter.admit(who)
    turns(site, told.value.retry_after_s, two, one)
    assert one.ask(who)
    assert one.ask(who)
    assert not one.ask(who)
    assert not two.ask(who)


def test_an_idle_level_leaves_nothing_in_the_database(site: VirtualSite) -> None:
    nodes = nodes_of(site, 3)
    for number, limit in enumerate((1, 2, 100, 1000)):
        who = caller(f"k{number}", requests_per_minute=limit, burst=0, concurrent=limit)
        nodes[number % 3].send(who, 3)
    turns(site, 5, *nodes)
    told = {level_id for _, level_id, _, _, _ in site.shares()}
    assert told == {"k0", "k1"}, "three of a hundred are too few to tell"
    turns(site, 70, *nodes)
    assert site.shares() == []
    assert all(node.limiter.shares.told == {} for node in nodes)


def test_a_node_that_was_killed_and_starts_at_once_has_its_part_at_once(site: VirtualSite) -> None:
    (alone,) = nodes_of(site, 1)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    assert alone.send(who, 200) == 100
    again = VirtualNode(site, "n0/b")
    again.exchange()
    assert again.send(who, 200) == 100, "alone it has told nobody"
    other = VirtualNode(site, "n1/a")
    settled(site, again, other)
    assert other.send(who, 200) == 0
    again = VirtualNode(site, "n0/c")
    settled(site, again, other)
    assert again.send(who, 200) == 0, "what the former process had told counts"
    assert again.send(caller("new", requests_per_minute=100, burst=0, **FAST), 200) == 50


def test_the_last_nodes_of_a_site_end_and_its_next_ones_know_what_was_used(
    site: VirtualSite,
) -> None:
    one, two = nodes_of(site, 2)
    who = caller(requests_per_minute=100, burst=0, **FAST)
    for _ in range(4):
        one.send(who, 30)
        two.send(who, 30)
        turns(site, 0.5, one, two)
    for node in (one, two, two):
        node.exchange(state="stopped")
    assert [row[0] for row in site.books.query("SELECT state FROM nodes")] == ["stopped"] * 2
    assert two.limiter.shares.nodes == 1
    again = VirtualNode(site, "n0/b")
    settled(site, again)
    again.send(who, 100)
    assert site.most <= 100
