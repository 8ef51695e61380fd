"""Where an engine stands: cards, the machine's own memory, what a plan prefers."""

from hypothesis import given
from hypothesis import strategies as st

from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed


def test_the_fullest_card_that_holds_it_is_taken() -> None:
    room = DeviceMemory((100, 100, 100))
    assert room.place(MemoryNeed(bytes_each=30), {0: 0, 1: 60, 2: 80}) == (1,)
    assert room.place(MemoryNeed(bytes_each=30, devices=2), {1: 60, 2: 80}) == (0, 1)
    assert room.place(MemoryNeed(bytes_each=50, devices=2), {1: 60, 2: 80}) is None


def test_the_plans_cards_come_first_where_they_are_free() -> None:
    room, need = DeviceMemory((100, 100)), MemoryNeed(bytes_each=60, preferred=(1,))
    assert room.place(need, {}) == (1,)
    assert room.place(need, {1: 50}) == (0,)


def test_the_machines_memory_is_a_device_of_its_own() -> None:
    room, need = DeviceMemory((), 100), MemoryNeed(devices=0, host_bytes=60)
    assert room.place(need, {}) == (HOST,)
    assert room.place(need, {HOST: 41}) is None
    assert room.can_hold(need)
    assert not room.can_hold(MemoryNeed(devices=0, host_bytes=101))
    assert DeviceMemory(()).place(need, {}) == ()  # it is not counted


def test_layers_on_a_card_and_the_rest_beside_it() -> None:
    room, need = DeviceMemory((100,), 50), MemoryNeed(bytes_each=40, host_bytes=30)
    assert room.place(need, {}) == (HOST, 0)
    assert room.place(need, {HOST: 30}) is None
    assert room.place(need, {0: 70}) is None
    assert (need.on(HOST), need.on(0)) == (30, 40)


def test_an_engines_part_of_its_whole_card() -> None:
    room = DeviceMemory((92, 184), usable=0.92)
    assert room.part(MemoryNeed(bytes_each=46), (0,)) == 0.46
    assert room.part(MemoryNeed(bytes_each=46, devices=2), (0, 1)) == 0.23
    assert room.part(MemoryNeed(devices=0, host_bytes=1), (HOST,)) is None
    assert room.part(MemoryNeed(bytes_each=10_000), (0,)) == 1.0


BYTES = st.integers(1, 100)


@given(st.lists(BYTES, max_size=5), BYTES, BYTES, st.integers(0, 4), st.data())
def test_whatever_is_taken_no_device_is_overfull(
    sizes: list[int], host: int, each: int, cards: int, data: st.DataObject
) -> None:
    room = DeviceMemory(tuple(sizes), host)
    taken = {i: data.draw(st.integers(0, size)) for i, size in enumerate(sizes)}
    taken[HOST] = data.draw(st.integers(0, host))
    preferred = tuple(data.draw(st.permutations(range(len(sizes))))[:cards])
    need = MemoryNeed(bytes_each=each, devices=cards, host_bytes=each, preferred=preferred)
    devices = room.place(need, taken)
    able = sum(size - taken[i] >= each for i, size in enumerate(sizes)) >= cards
    assert (devices is not None) == (able and host - taken[HOST] >= each)
    for device in devices or ():
        size = host if device == HOST else sizes[device]
        assert taken[device] + need.on(device) <= size
