"""What engines were seen to take counts in the next plan."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.fleet.shares import NodeShares
from engines.memory_in_use import MemoryInUse
from engines.planning.cards import parse_cards
from engines.planning.demands import fit
from engines.planning.machine import Machine
from engines.planning.measured import FILE_NAME, Measured, MeasuredMemory, measured_on
from engines.planning.shipped import shipped_facts
from engines.registry.spec import EngineSpec

GB = 10**9
SOURCE = "mistralai/Mixtral-8x7B-Instruct-v0.1"
SPEC = EngineSpec(kind="vllm", source=SOURCE, args={"tensor_parallel_size": 4})
[CARD, OTHER] = (parse_cards(text)[0] for text in ("1xH100-80", "1x24"))
MACHINE = Machine(cards=(CARD,) * 4, host_bytes=1000 * GB)
SEEN = Measured(
    weights_bytes=24 * GB,
    reserve_bytes=7 * GB,
    token_bytes=32_768,
    card=CARD.name,
    card_bytes=CARD.total_bytes,
)
USE = MemoryInUse(weights_bytes=24 * GB, reserve_bytes=7 * GB, token_bytes=32_768, kv_bytes=30 * GB)


def shares(folder: Path) -> NodeShares:
    return NodeShares([], MACHINE, lambda spec: shipped_facts(spec.source), MeasuredMemory(folder))


def test_what_was_noted_is_found_for_that_engine_on_that_card_alone(tmp_path: Path) -> None:
    MeasuredMemory(tmp_path).note(SPEC, SEEN)
    known = MeasuredMemory(tmp_path)
    assert known.of(SPEC, CARD) == SEEN
    assert known.of(SPEC, OTHER) is None
    other = EngineSpec(kind="vllm", source=SOURCE, args={"tensor_parallel_size": 8})
    assert known.of(other, CARD) is None


def test_the_next_plan_has_what_was_seen(tmp_path: Path) -> None:
    shares(tmp_path).note(SPEC, (0, 1, 2, 3), [USE] * 4)
    facts = shipped_facts(SOURCE)
    assert facts is not None
    need = fit(SPEC, facts, MACHINE, MeasuredMemory(tmp_path)).need
    assert (need.weights_bytes, need.reserve_bytes, need.token_bytes) == (24 * GB, 7 * GB, 32_768)
    assert need.is_measured
    assert not fit(SPEC, facts, MACHINE).need.is_measured


def test_the_next_load_has_it_too(tmp_path: Path) -> None:
    node = shares(tmp_path)
    before = node.need(SPEC)
    node.note(SPEC, (0, 1, 2, 3), [USE] * 4)
    after = node.need(SPEC)
    assert before is not None
    assert after is not None
    assert after.bytes_each - before.bytes_each > GB, "its computing took more than was estimated"


@pytest.mark.parametrize(
    "uses",
    [[MemoryInUse(kv_bytes=1)], [USE, MemoryInUse(kv_bytes=1, weights_bytes=1)]],
    ids=["nothing", "one worker says less"],
)
def test_what_is_not_told_whole_is_not_kept(tmp_path: Path, uses: Sequence[MemoryInUse]) -> None:
    shares(tmp_path).note(SPEC, (0, 1), uses)
    assert not (tmp_path / FILE_NAME).exists()


def test_the_fullest_card_counts_and_a_token_that_is_not_told_is_the_planned_one() -> None:
    less = MemoryInUse(weights_bytes=20 * GB, reserve_bytes=7 * GB, kv_bytes=0)
    more = MemoryInUse(weights_bytes=24 * GB, reserve_bytes=7 * GB, kv_bytes=0)
    assert measured_on(CARD, [less, more, less], 32_768) == SEEN


def test_a_later_figure_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    known = MeasuredMemory(tmp_path)
    for weights in (1, 2):
        known.note(SPEC, measured_on(CARD, [USE], weights))
    found = known._read()[SPEC.key]
    assert len(found) == 1


def test_engines_that_start_at_once_are_all_kept(tmp_path: Path) -> None:
    known = MeasuredMemory(tmp_path)
    specs = [EngineSpec(kind="vllm", source=f"org/{i}") for i in range(16)]
    writers = [threading.Thread(target=known.note, args=(spec, SEEN)) for spec in specs]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert all(known.of(spec, CARD) == SEEN for spec in specs)


def test_the_file_stays_small(tmp_path: Path) -> None:
    known = MeasuredMemory(tmp_path)
    known._write({f"k{i}": [] for i in range(300)})
    known.note(SPEC, SEEN)
    assert len(known._read()) == 256
    assert known.of(SPEC, CARD) == SEEN


@pytest.mark.parametrize("text", ["", "[]", "{", '{"engines": 3}', '{"engines": {"a": [{}]}}'])
def test_a_damaged_file_is_empty_and_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    known = MeasuredMemory(tmp_path)
    assert known.of(SPEC, CARD) is None
    known.note(SPEC, SEEN)
    assert known.of(SPEC, CARD) == SEEN


def test_a_disk_that_is_full_leaves_no_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    known = MeasuredMemory(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("engines.planning.measured.os.replace", full)
        with pytest.raises(OSError, match="No space"):
            known.note(SPEC, SEEN)
    assert list(tmp_path.iterdir()) == []
