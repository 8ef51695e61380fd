"""Cards as people write them, and those of a machine."""

from pathlib import Path

import pytest

from engines.planning.cards import GIB, BadCards, parse_cards, shown_cards
from engines.planning.machine import host_bytes, this_machine


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("8x80", "8 × 80 GB"),
        ("2x24", "2 × 24 GB"),
        ("8xH100-80", "8 × H100 80 GB"),
        ("8xH100", "8 × H100 80 GB"),
        ("1xh200", "1 × H200 141 GB"),
        ("1X16.5", "1 × 16.5 GB"),
        ("4x80,2x24", "4 × 80 GB, 2 × 24 GB"),
        ("2xRTX-6000-48", "2 × RTX-6000 48 GB"),
        ("1024x1", "1024 × 1 GB"),
    ],
)
def test_cards_are_read_as_they_are_written(text: str, shown: str) -> None:
    assert shown_cards(parse_cards(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "8", "x80", "8x", "8x-80", "0x80", "8x0", "1025x80", "99999x80", "8xH100-", "8xT5"),
        *(
            "8x80GB",
            "-8x80",
            "8x80,",
            "8x10001",
            "8x1e3",
            "8xa b-80",
            "8x80x2",
            "٨x80",
            "513x1,512x1",
        ),
    ],
)
def test_what_is_no_set_of_cards_says_what_would_be_right(text: str) -> None:
    with pytest.raises(BadCards, match="right would be 8x80, 2x24, 8xH100-80"):
        parse_cards(text)


def test_a_misspelt_card_has_a_neighbour() -> None:
    with pytest.raises(BadCards, match="did you mean 'H100'"):
        parse_cards("8xH10O")


@pytest.mark.parametrize(
    ("label", "found_gib"), [("H100", 79.1), ("RTX4090", 23.6), ("H200", 139.8), ("B200", 178.3)]
)
def test_a_card_has_a_little_less_than_programs_find(label: str, found_gib: float) -> None:
    (card,) = parse_cards(f"1x{label}")
    assert 0.98 * found_gib < card.total_bytes / GIB <= 1.002 * found_gib


SMI = """#!/bin/sh
echo '0, GPU-aa, NVIDIA H100 80GB HBM3, 81559'
echo '1, GPU-bb, NVIDIA H100 80GB HBM3, 81559'
echo '2, GPU-cc, NVIDIA GeForce RTX 4090, 24564'
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tool


@pytest.mark.parametrize(
    ("visible", "labels"),
    [
        (None, [80, 80, 24]),
        ("", []),
        ("2,0", [24, 80]),
        ("GPU-b", [80]),
        ("7", []),
    ],
)
@pytest.mark.usefixtures("nvidia_smi")
def test_a_machines_cards_are_those_that_cuda_shows(visible: str | None, labels: list[int]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [card.label_gb for card in this_machine(environment).cards] == labels


@pytest.mark.parametrize("script", ["exit 9", "echo '0, GPU-1, A card, [N/A]'", "echo nothing"])
def test_cards_that_cannot_be_read_are_none(nvidia_smi: Path, script: str) -> None:
    nvidia_smi.write_text(f"#!/bin/sh\n{script}\n")
    assert this_machine({}).cards == ()


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path) -> None:
    whole = host_bytes(())
    assert whole is not None
    limit = tmp_path / "memory.max"
    limit.write_text("1073741824\n")
    assert host_bytes((str(limit),)) == GIB
    limit.write_text("max\n")
    assert host_bytes((str(limit), str(tmp_path / "nowhere"))) == whole
