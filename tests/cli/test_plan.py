"""`fjord plan`: one screen, one JSON document, an exit status, and words for what is wrong."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.planning.cards import parse_cards
from engines.planning.machine import Machine
from server.cli.fitting_profile import fitting_profile
from server.cli.plan import app
from server.cli.plan_page import BAR, EMPTY, FULL, bar
from server.refusal import CannotStart
from tests.support.fleet_page import PAGE, page
from tests.support.registries import GOOD, SHIPPED


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No card here, no hub, a data directory of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("FJORD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FJORD_REGISTRY", str(SHIPPED))
    monkeypatch.setenv("COLUMNS", "80")


def fjord_plan(*args: str, status: int = 0) -> str:
    shown = CliRunner().invoke(app, args, catch_exceptions=False)
    assert shown.exit_code == status, shown.output
    return shown.output


@pytest.mark.parametrize("gpus", ["1x24", "4x80", "8x80", "8x141", "8x180", "8xH100-80", "64x80"])
def test_a_screen_has_80_columns_and_a_bar_a_card(gpus: str) -> None:
    status = 0 if gpus == "8x180" else 1
    lines = fjord_plan("--profile", "cuda", "--gpus", gpus, status=status).splitlines()
    assert max(map(len, lines)) <= 80
    bars = [line for line in lines if EMPTY in line or FULL in line]
    assert gpus in ("1x24", "64x80") or len(bars) >= int(gpus[0])
    assert lines[0].startswith("Profile cuda on ")
    assert sum(line.startswith("deepseek-v3 ") for line in lines) == 1


def test_what_never_fits_says_why_and_what_would() -> None:
    shown = " ".join(fjord_plan("--profile", "cuda", "--gpus", "1x80", status=1).split())
    assert "mixtral-8x7b: runs on 2 cards; here is 1 would: the same weights" in shown
    assert "{tensor_parallel_size: 1, quantization: fp8}: 47 GB" in shown
    assert "Profiles of which all fits at once: small, embedded" in shown


def test_json_says_every_byte() -> None:
    told = json.loads(fjord_plan("--profile", "cuda", "--gpus", "8xH100-80", "--json", status=1))
    engines = {each["aliases"][0]: each for each in told["engines"]}
    assert (len(engines), len(told["cards"]), told["cards"][0]["name"]) == (12, 8, "H100")
    assert engines["kimi-k2"]["kv_bytes_per_token"] == 70_272
    assert engines["kimi-k2"]["verdict"] == "never"
    assert engines["kimi-k2"]["would_fit"][0]["kind"] == "cards"
    assert told["profiles_that_fit"] == ["small", "embedded"]
    mixtral = engines["mixtral-8x7b"]
    assert (mixtral["verdict"], mixtral["turn"], len(mixtral["cards"])) == ("by turns", 1, 2)
    part = mixtral["per_card"]
    assert part["least_bytes"] == (
        part["weights_bytes"] + part["reserve_bytes"] + part["stream_bytes"]
    )
    turns = [alias for turn in told["turns"] for alias in turn]
    assert sorted(turns) == sorted(n for n, e in engines.items() if e["verdict"] != "never")


def test_some_aliases_alone() -> None:
    told = json.loads(
        fjord_plan(
            *("--profile", "cuda", "--gpus", "2x80", "--json"),
            *("--aliases", "qwen3-vl-8b, llamaguard-4", "--aliases", "mixtral-8x7b"),
        )
    )
    names = [each["aliases"] for each in told["engines"]]
    assert names == [["mixtral-8x7b"], ["qwen3-vl-8b"], ["llamaguard-4"]]
    assert told["engines"][0]["verdict"] == "by turns"


@pytest.mark.parametrize(
    ("args", "right"),
    [
        (("--gpus", "8x"), "right would be 8x80, 2x24"),
        (("--gpus", ""), "right would be 8x80, 2x24"),
        (("--gpus", "8xH10O"), "did you mean 'H100'"),
        (("--aliases", "mixtral"), "did you mean 'mixtral-8x7b'"),
        (("--profile", "cudda"), "did you mean 'cuda'"),
        (("--engine-arg", "a=1"), "--engine-arg is for the models of --model"),
    ],
)
def test_what_is_wrong_says_what_would_be_right(args: tuple[str, ...], right: str) -> None:
    with pytest.raises(CannotStart, match=right):
        fjord_plan(*args)


def test_without_cards_the_memory_is_planned() -> None:
    shown = fjord_plan()
    assert "Profile embedded on the CPU" in shown
    assert "RAM " in shown


def test_a_model_of_ones_own_that_nobody_knows_is_told_and_refuses_nothing() -> None:
    shown = fjord_plan("--model", "mine=owner/name", "--gpus", "1x24")
    assert "mine: not known: owner/name is not whole on" in " ".join(shown.split())


def test_a_plan_takes_less_than_a_second_of_a_core() -> None:
    fjord_plan("--gpus", "8x80", "--profile", "cuda", status=1)
    began = time.process_time()
    fjord_plan("--gpus", "8x80", "--profile", "cuda", status=1)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("cards", "profile"),
    [
        *(("1x24", "small"), ("2x24", "small"), ("1x80", "small"), ("1x4", "embedded")),
        *(("2x80", "cuda"), ("4x48", "small"), ("8x80", "cuda"), ("8x180", "cuda")),
    ],
)
def test_the_default_profile_is_the_largest_that_fits(
    tmp_path: Path, cards: str, profile: str
) -> None:
    machine = Machine(cards=parse_cards(cards))
    assert fitting_profile(SHIPPED, machine, tmp_path) == profile


@pytest.mark.parametrize("profiles", ["profiles: {p: {}}", ""])
def test_a_file_without_cuda_chooses_as_ever(tmp_path: Path, profiles: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.split("profiles:")[0] + profiles)
    assert fitting_profile(path, Machine(cards=parse_cards("8x80")), tmp_path) is None


def test_a_model_that_nobody_knows_does_not_change_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.split("profiles:")[0] + "profiles: {cuda: {}, p: {}}")
    assert fitting_profile(path, Machine(cards=parse_cards("1x24")), tmp_path) == "cuda"


@pytest.mark.parametrize(
    ("part", "filled"), [(0, 0), (1, 1), (50, BAR // 2), (99, BAR), (100, BAR), (200, BAR)]
)
def test_a_bar_is_never_longer_than_its_place(part: int, filled: int) -> None:
    assert bar(part, 100) == FULL * filled + EMPTY * (BAR - filled)


def test_the_page_has_the_plans_tables() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.fleet_page"


@pytest.mark.parametrize(
    ("pinned", "told"),
    [
        (("qwen3-vl-8b", "llamaguard-4"), "possible together: qwen3-vl-8b, llamaguard-4. Whichev"),
        (("qwen3-vl-8b",), "Never while others are pinned (qwen3-vl-8b): llamaguard-4"),
    ],
)
def test_pins_that_cannot_be_kept_are_told(
    tmp_path: Path, pinned: tuple[str, ...], told: str
) -> None:
    text = SHIPPED.read_text()
    for name in pinned:
        assert f"  {name}:\n" in text
        text = text.replace(f"  {name}:\n", f"  {name}:\n    keep: pinned\n", 1)
    (tmp_path / "pinned.yaml").write_text(text)
    where = ["--registry", str(tmp_path / "pinned.yaml"), "--profile", "cuda"]
    asked = [*where, "--gpus", "1x40", "--aliases", "qwen3-vl-8b,llamaguard-4"]
    shown = fjord_plan(*asked, status=1)
    assert told in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    as_json = json.loads(fjord_plan(*asked, "--json", status=1))
    found = as_json["pinned_that_do_not_fit_together"] or as_json["kept_out_by_pinned"]
    assert found == (list(pinned) if len(pinned) == 2 else ["llamaguard-4"])


def test_replicas_are_one_row_and_those_without_room_are_told(tmp_path: Path) -> None:
    path, source = tmp_path / "registry.yaml", "Qwen/Qwen3-VL-8B-Instruct"
    args = "{max_model_len: 32768}"
    model = f"source: {source}, args: {args}, replicas: 3, context: 32K, output: 4K"
    path.write_text(f"models:\n  vl: {{{model}}}\n")
    asked = ("--registry", str(path), "--gpus")
    whole = fjord_plan(*asked, "2x80")
    assert [line.split() for line in whole.splitlines() if line.startswith("vl ")] == [
        ["vl", "3×1", "17.5", "144.0", "32K", "17", "at", "once"]
    ]
    assert sum(line.endswith("GB  vl ×2") for line in whole.splitlines()) == 1
    short = " ".join(fjord_plan(*asked, "1x80", status=1).split())
    assert "at once, 2 of 3" in short
    assert "vl: 2 of 3 replicas fit here would: replicas: 2; or 2 × 80 GB" in short
    told = json.loads(fjord_plan(*asked, "1x80", "--json", status=1))
    assert [(e["replica"], e["replicas"], e["verdict"]) for e in told["engines"]] == [
        (1, 3, "at once"),
        (2, 3, "at once"),
        (3, 3, "never"),
    ]
    assert told["turns"] == [["vl"]]


TURNS = ("--profile", "cuda", "--gpus", "2x80", "--aliases", "mixtral-8x7b,qwen3-vl-8b")


def sleepy_registry(folder: Path, *aliases: str) -> tuple[str, ...]:
    """The shipped one, these models with `enable_sleep_mode`."""
    path = folder / "sleepy.yaml"
    text = SHIPPED.read_text()
    for alias in aliases:
        before, own = text.split(f"  {alias}:\n", 1)
        own = own.replace("args: {", "args: {enable_sleep_mode: true, ", 1)
        text = f"{before}  {alias}:\n{own}"
    path.write_text(text)
    return ("--registry", str(path))


def words(shown: str) -> str:
    return " ".join(shown.split())


def test_where_models_take_turns_what_sleep_would_save_is_told() -> None:
    shown = fjord_plan(*TURNS)
    assert "With args {enable_sleep_mode: true} it would be back in 3 to 10 s" in words(shown)
    assert max(map(len, shown.splitlines())) <= 80
    alone = fjord_plan("--profile", "cuda", "--gpus", "2x80", "--aliases", "qwen3-vl-8b")
    assert "sleep" not in alone, "no turns, and nothing sleeps"


def test_who_sleeps_at_which_level_and_what_a_turn_costs_is_told(tmp_path: Path) -> None:
    both = sleepy_registry(tmp_path, "mixtral-8x7b", "qwen3-vl-8b")
    shown = fjord_plan(*both, *TURNS, "--sleep-memory", "100")
    assert "mixtral-8x7b sleeps at level 1 (weights wait in memory: 93 GB of 100 GB)" in words(
        shown
    )
    assert "qwen3-vl-8b sleeps at level 2 (weights are read again)" in words(shown)
    assert "Back from sleep, about: turn 1 10 s instead of 123, turn 2 19 s" in words(shown)
    assert max(map(len, shown.splitlines())) <= 80
    unknown = words(fjord_plan(*both, *TURNS))
    assert "sleeps at level 1 where --sleep-memory has room for 111 GB, else at level 2" in unknown
    assert "turn 1 10 s (level 2: 94) instead of 123" in unknown


def test_json_tells_each_sleepers_bytes_and_seconds(tmp_path: Path) -> None:
    one = sleepy_registry(tmp_path, "mixtral-8x7b")
    told = json.loads(fjord_plan(*one, *TURNS, "--json", "--sleep-memory", "100"))["sleep"]
    (mixtral,) = told["engines"]
    assert (mixtral["aliases"], mixtral["is_enabled"], mixtral["level"]) == (
        ["mixtral-8x7b"],
        True,
        1,
    )
    assert mixtral["wake_from_level_1_s"] == round(1 + mixtral["weights_bytes"] / 10e9, 1)
    assert mixtral["kept_bytes_per_card"] > 2**30
    assert told["memory_bytes"] == 100 * 10**9
    first, second = told["turns"]
    assert first["wake_from_level_1_s"] == mixtral["wake_from_level_1_s"] < first["load_s"]
    assert second["wake_from_level_1_s"] == second["load_s"], "it has no sleep mode"
