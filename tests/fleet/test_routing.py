"""Which replica a request goes to: pure choices, over any loads and any memory of prefixes."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engines.base import Adapter, GenerateRequest, Sampling, Tool
from engines.fleet.prefixes import LENGTHS, prefixes_of
from engines.fleet.routing import (
    MUCH_BUSIER,
    SLACK,
    ReplicaLoad,
    WarmPrefixes,
    choose,
    most_requests,
)

MANY = st.integers(0, 10_000)


@st.composite
def some_replicas(draw: st.DrawFn) -> list[ReplicaLoad]:
    count = draw(st.integers(1, 64))
    return [
        ReplicaLoad(
            replica=number,
            requests=draw(MANY),
            takes_requests=draw(st.booleans()),
            chosen_at=draw(MANY),
        )
        for number in range(count)
    ]


WARM = st.lists(st.integers(0, 70), unique=True, max_size=8)


@given(some_replicas(), WARM)
def test_one_that_takes_no_requests_is_never_chosen(
    replicas: list[ReplicaLoad], warm: list[int]
) -> None:
    chosen = choose(replicas, warm)
    able = {each.replica for each in replicas if each.takes_requests}
    assert (chosen in able) if able else chosen is None


@given(some_replicas(), WARM)
def test_a_warm_one_is_chosen_unless_it_is_much_busier(
    replicas: list[ReplicaLoad], warm: list[int]
) -> None:
    able = {each.replica: each.requests for each in replicas if each.takes_requests}
    chosen = choose(replicas, warm)
    if chosen is None:
        return
    least = min(able.values())
    near = [w for w in warm if w in able and able[w] <= MUCH_BUSIER * least + SLACK]
    assert chosen == near[0] if near else able[chosen] == least


@given(st.integers(2, 16), st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=300))
def test_no_replica_gets_far_ahead_whatever_is_warm(
    count: int, arrivals: list[tuple[int, bool]]
) -> None:
    """Requests that come, and (True) one of the busiest that ends: the bound holds at each
    arrival, since who gets one was within it."""
    loads = [0] * count
    for warm, ends in arrivals:
        if ends and max(loads):
            loads[loads.index(max(loads))] -= 1
            continue
        replicas = [ReplicaLoad(replica=i, requests=n) for i, n in enumerate(loads)]
        chosen = choose(replicas, [warm % count])
        assert chosen is not None
        assert loads[chosen] <= most_requests(min(loads))
        loads[chosen] += 1
        assert max(loads) <= most_requests(min(loads)) + 1


@given(st.integers(2, 8), st.integers(1, 60))
def test_cold_requests_one_after_another_go_to_all_in_turn(count: int, requests: int) -> None:
    chosen_at = dict.fromkeys(range(count), 0)
    hits = dict.fromkeys(range(count), 0)
    for now in range(1, requests + 1):
        loads = [ReplicaLoad(replica=i, chosen_at=at) for i, at in chosen_at.items()]
        chosen = choose(loads)
        assert chosen is not None
        chosen_at[chosen], hits[chosen] = now, hits[chosen] + 1
    assert max(hits.values()) - min(hits.values()) <= 1


PREFIXES = st.lists(st.integers(0, 40), min_size=1, max_size=4)


@given(st.lists(st.tuples(PREFIXES, st.integers(0, 3)), max_size=60), PREFIXES, st.integers(1, 12))
def test_what_was_read_last_is_known_and_no_more_than_the_most(
    read: list[tuple[list[int], int]], asked: list[int], most: int
) -> None:
    memory, latest = WarmPrefixes(most), dict[int, int]()
    for prefixes, replica in read:
        memory.note(prefixes, replica, loads=1)
        for prefix in prefixes:
            latest.pop(prefix, None)
            latest[prefix] = replica
    kept = dict(list(latest.items())[-most:])
    assert len(memory) == len(kept)
    expected = list(dict.fromkeys(kept[p] for p in reversed(asked) if p in kept))
    assert memory.warm(asked, dict.fromkeys(range(4), 1)) == expected
    assert memory.warm(asked, dict.fromkeys(range(4), 2)) == []  # all were started anew


# What is hashed


def chat(*contents: str, tools: tuple[Tool, ...] = ()) -> GenerateRequest:
    messages = [{"role": "user", "content": content} for content in contents]
    return GenerateRequest(
        request_id="r", sampling=Sampling(max_tokens=1), messages=messages, tools=tools
    )


def prompted(prompt: str | list[int]) -> GenerateRequest:
    return GenerateRequest(request_id="r", sampling=Sampling(max_tokens=1), prompt=prompt)


@given(st.text(min_size=LENGTHS[0]), st.text(), st.text())
def test_a_conversation_that_goes_on_shares_its_beginning(first: str, one: str, two: str) -> None:
    shared = set(prefixes_of(chat(first, one))) & set(prefixes_of(chat(first, two)))
    assert shared


def test_longer_beginnings_tell_apart_what_shorter_ones_do_not() -> None:
    system = "s" * LENGTHS[1]
    one, two = (prefixes_of(chat(system, text)) for text in ("hei du", "noe annet"))
    assert one[:2] == two[:2]
    assert one[-1] != two[-1]
    assert len(prefixes_of(chat("x" * 10 * LENGTHS[-1]))) == len(LENGTHS)


def test_all_forms_of_a_prompt_have_beginnings_and_an_empty_one_has_none() -> None:
    text, ids = "en lang tekst " * 50, list(range(3000))
    assert prefixes_of(prompted(text)) == prefixes_of(prompted(text))
    assert prefixes_of(prompted(ids))[:2] == prefixes_of(prompted([*ids[:500], 7]))[:2]
    assert prefixes_of(prompted("")) == prefixes_of(prompted([])) == ()
    tool = Tool(name="weather")
    assert prefixes_of(chat("hei", tools=(tool,)))[-1] != prefixes_of(chat("hei"))[-1]


def test_an_adapter_has_beginnings_of_its_own() -> None:
    plain = chat("You are kind.", "hei")
    found = [
        set(prefixes_of(replace(plain, adapter=adapter)))
        for adapter in (None, Adapter(name="a", path="/a"), Adapter(name="b", path="/b"))
    ]
    assert all(found)
    assert not found[0] & found[1]
    assert not found[1] & found[2]
    assert found[1] == set(prefixes_of(replace(plain, adapter=Adapter(name="a", path="/a"))))
