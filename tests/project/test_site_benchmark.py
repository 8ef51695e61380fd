"""benchmarks/site: its mix is the same each time, and its model of nodes knows what it should."""

from benchmarks.site_mix import SHARES, Mix
from benchmarks.site_routing import SEATS, Arrived, ModelledNode, arrivals, routed


def test_one_seed_makes_one_mix() -> None:
    first, again, other = (list(Mix(seed).requests(200)) for seed in (1, 1, 2))
    assert first == again != other
    assert {each.kind for each in first} == set(SHARES)
    assert all(each.messages[-1]["role"] == "user" for each in first)
    assert all(each.output_tokens > 0 for each in first)


def test_a_node_finds_the_beginning_that_it_has_read() -> None:
    node = ModelledNode()
    assert node.found([1, 2, 3]) == 0
    assert node.found([1, 2, 4]) == 32
    assert node.found([9, 2, 3]) == 0


def test_warm_nodes_find_more_than_any_other_choice_and_none_is_left_out() -> None:
    asked = arrivals(1500, 1, 4)
    warm, random, robin = (routed(asked, policy, 4) for policy in ("warm", "random", "robin"))
    assert warm["hit_share"] > random["hit_share"] + 0.1
    assert warm["hit_share"] > robin["hit_share"] + 0.1
    assert warm["requests_most_over_mean"] < 1.5
    assert routed(asked, "warm", 4, fronts=4)["hit_share"] < warm["hit_share"]


def test_more_than_a_nodes_seats_wait() -> None:
    asked = [Arrived((), (), 10_000, 2000)] * 2000
    assert routed(asked, "robin", 1)["most_at_once"] > 0
    crowd = [Arrived((), (), 1, 10_000)] * (2 * SEATS)
    assert routed(crowd, "robin", 1)["most_at_once"] <= 2 * SEATS
