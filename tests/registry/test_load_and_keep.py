"""When a model loads and how long it stays: `load`, `keep`, and the older `preload`."""

from pathlib import Path
from typing import Any

import pytest

from engines.registry.durations import duration_text, seconds_of
from engines.registry.registry import RegistryError
from engines.registry.spec import ModelSpec
from tests.support.registries import GOOD, load


def one(folder: Path, lines: str, overlay: str = "{}") -> ModelSpec:
    text = GOOD.replace("    output: 4K\n", f"    output: 4K\n{lines}")
    return load(folder, text.replace("p: {}", f"p: {overlay}")).models["one"]


@pytest.mark.parametrize(
    ("lines", "when"),
    [
        ("", "demand"),
        ("    load: start\n", "start"),
        ("    load: demand\n", "demand"),
        ("    load: never\n", "never"),
        ("    load: null\n", "demand"),
        ("    preload: true\n", "start"),
        ("    preload: false\n", "demand"),
        ("    load: null\n    preload: true\n", "start"),
        ("    load: start\n    preload: true\n", "start"),
        ("    load: never\n    preload: false\n", "never"),
        ("    load: demand\n    preload: false\n", "demand"),
    ],
)
def test_load_says_when_and_preload_is_its_older_word(
    tmp_path: Path, lines: str, when: str
) -> None:
    model = one(tmp_path, lines)
    assert (model.load, model.preload) == (when, when == "start")


@pytest.mark.parametrize(
    ("lines", "overlay", "when"),
    [
        ("    preload: true\n", "{all: {load: demand}}", "demand"),
        ("    load: start\n", "{all: {preload: false}}", "demand"),
        ("    load: never\n", "{all: {preload: false}}", "never"),
        ("    load: never\n", "{models: {one: {preload: true}}}", "start"),
        ("    load: start\n", "{models: {one: {load: null}}}", "demand"),
        ("    preload: true\n", "{models: {one: {source: owner/other}}}", "start"),
        ("", "{all: {load: start}, models: {one: {load: never}}}", "never"),
    ],
)
def test_a_profiles_word_counts_over_the_models(
    tmp_path: Path, lines: str, overlay: str, when: str
) -> None:
    assert one(tmp_path, lines, overlay).load == when


@pytest.mark.parametrize(
    ("lines", "overlay", "said"),
    [
        (
            "    load: demand\n    preload: true\n",
            "{}",
            r":7: model 'one', key 'preload': true contradicts load: demand",
        ),
        (
            "    load: never\n    preload: true\n",
            "{}",
            r":7: model 'one', key 'preload': true contradicts load: never",
        ),
        (
            "    preload: false\n    load: start\n",
            "{}",
            r":6: model 'one', key 'preload': false contradicts load: start",
        ),
        (
            "",
            "{all: {load: never, preload: true}}",
            r":7: profile 'p', key 'all.preload': true contradicts load: never",
        ),
    ],
)
def test_one_layer_that_says_both_is_a_mistake(
    tmp_path: Path, lines: str, overlay: str, said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        one(tmp_path, lines, overlay)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("pinned", (True, None)),
        ("90s", (False, 90.0)),
        ("10m", (False, 600.0)),
        ("2h", (False, 7200.0)),
        ("1.5h", (False, 5400.0)),
        ("366d", (False, 366 * 86_400.0)),
        ("1800", (False, 1800.0)),
        ("null", (False, None)),
    ],
)
def test_keep_is_pinned_or_a_length_of_time(
    tmp_path: Path, written: str, kept: tuple[bool, float | None]
) -> None:
    model = one(tmp_path, f"    keep: {written}\n")
    assert (model.is_pinned, model.keep_s) == kept


@pytest.mark.parametrize(
    "wrong", ["0", "-1", "0.5s", "367d", "10 m", "10M", "'m'", "pined", ".inf", "true", "[10m]"]
)
def test_another_keep_is_a_mistake_that_says_what_would_be_right(
    tmp_path: Path, wrong: str
) -> None:
    said = r":6: model 'one', key 'keep': .* right would be pinned, or .*90s, 10m or 2h"
    with pytest.raises(RegistryError, match=said):
        one(tmp_path, f"    keep: {wrong}\n")


def test_another_load_is_a_mistake_that_says_what_would_be_right(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r":6: .*'load': 'lazy' .*start, demand or never"):
        one(tmp_path, "    load: lazy\n")


@pytest.mark.parametrize("text", ["1s", "90s", "10m", "2h", "1d", "366d", "61s", "1.5s"])
def test_a_length_of_time_is_written_as_it_is_read(text: str) -> None:
    assert duration_text(seconds_of(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "१०m",
        "1e3s",
        float("nan"),
        *(pytest.param(v, id="long") for v in (10**400, "9" * 5000)),
    ],
)
def test_what_is_no_length_of_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="it is"):
        seconds_of(value)


@pytest.mark.parametrize("count", [1, 2, 64])
def test_a_model_has_as_many_replicas_as_the_file_says(tmp_path: Path, count: int) -> None:
    assert one(tmp_path, f"    replicas: {count}\n").replicas == count
    assert one(tmp_path, "").replicas == 1


def test_a_profile_that_names_other_weights_starts_with_one_replica(tmp_path: Path) -> None:
    text = GOOD.replace("    output: 4K\n", "    output: 4K\n    replicas: 3\n")
    other = "{source: other/weights, context: 8K}"
    small = text.replace("p: {}", f"p: {{models: {{one: {other}}}}}")
    same = text.replace("p: {}", "p: {models: {one: {context: 8K}}}")
    assert load(tmp_path, small).models["one"].replicas == 1
    assert load(tmp_path, same).models["one"].replicas == 3
