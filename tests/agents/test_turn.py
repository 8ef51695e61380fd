"""Coding agents from npm, unmodified: a whole turn with a file edit against a scripted engine."""

import functools
import subprocess
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.base import Delta, GenerateRequest, Prompt, Sampling, Sink
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.agent_child import Place, run
from tests.support.agents import AFTER, BEFORE, CODEX, DONE, EVERY, MODEL, QWEN, Agent
from tests.support.serving import Served, read_records, scripted, serving

pytestmark = pytest.mark.agents
every_agent = pytest.mark.parametrize("agent", EVERY, ids=lambda agent: agent.name)


class Listening(ScriptedEngine):
    """Remembers what it was asked."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.asked: list[tuple[GenerateRequest, Prompt]] = []

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append((request, prompt))
        if not request.tools:
            request = msgspec.structs.replace(request, sampling=few(request.sampling))
        return super().generate(request, prompt, sink)


def few(sampling: Sampling) -> Sampling:
    """What a session's title gets, which opencode asks for beside the turn."""
    return msgspec.structs.replace(sampling, max_tokens=5)


def installed(agent: Agent) -> Agent:
    if reason := absent(agent.program):
        pytest.skip(f"{agent.name} {reason}")
    return agent


@functools.cache
def absent(program: Path) -> str:
    """Why an agent cannot run here, or nothing."""
    if not program.exists():
        return "is not installed: `make test-agents` does it, with npm"
    asked = [str(program), "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0:
        return ""
    return f"does not start here: {(done.stderr or done.stdout).strip()[-300:]}"


def roles(request: GenerateRequest) -> list[str]:
    return [message["role"] for message in request.messages or ()]


def last_message(request: GenerateRequest) -> Mapping[str, Any]:
    messages = request.messages
    assert messages
    return messages[-1]


def is_billed_as_made(served: Served) -> None:
    """The ledger's tokens are those that the engines read and made."""
    records = read_records(served.data_dir)
    read = sum(len(prompt.token_ids) for engine in served.engines for _, prompt in engine.asked)
    made = sum(engine.generated_tokens for engine in served.engines)
    assert sum(record["prompt_tokens"] for record in records) == read
    assert sum(record["completion_tokens"] for record in records) == made


@every_agent
def test_an_agent_reads_a_file_edits_it_and_ends_its_turn(agent: Agent, tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    turn = installed(agent).turn_in(place.workspace)
    model = scripted(MODEL, tool_parser="hermes", text=DONE, turn=turn)
    with serving(tmp_path / "data", model, build=Listening) as served:
        ended = run(agent, place, served.url, served.key)
    assert ended.status == 0, ended.said
    assert DONE in ended.said
    assert place.file.read_text() == AFTER
    asked = [request for request, _ in served.engines[0].asked if request.tools]
    assert [roles(request).count("tool") for request in asked] == [0, 1, 2]
    assert BEFORE.splitlines()[1] in str(last_message(asked[1])["content"])
    assert ended.asked_outside <= agent.asks_outside
    is_billed_as_made(served)


@every_agent
def test_an_agent_with_a_wrong_key_ends_with_the_reason(agent: Agent, tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    with serving(tmp_path / "data", scripted(MODEL), build=Listening) as served:
        ended = run(installed(agent), place, served.url, "wayscloud_llm_wrong")
    assert ended.status != 0
    assert "Unknown API key" in ended.said
    assert place.file.read_text() == BEFORE
    assert [record["prompt_tokens"] for record in read_records(served.data_dir)] == []
    assert all(engine.asked == [] for engine in served.engines)


CUT_AFTER = 200
"""Words of an answer: more than a call of any turn has tokens."""
LONG = "Mended. " * (CUT_AFTER + 20)


def dying(turn: list[dict[str, Any]], text: str = LONG) -> Any:
    more = {"token_delay_s": 0.001, "die_after_tokens": CUT_AFTER}
    return scripted(MODEL, tool_parser="hermes", text=text, turn=turn, **more)


@every_agent
def test_a_stream_cut_by_a_dead_engine_is_asked_for_again(agent: Agent, tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    engines: list[Listening] = []

    def first_one_dies(spec: EngineSpec) -> Listening:
        lasting = replace(spec, args={**spec.args, "die_after_tokens": 1 << 40})
        engines.append(Listening(lasting if engines else spec))
        return engines[-1]

    model = dying(installed(agent).turn_in(place.workspace))
    with serving(tmp_path / "data", model, build=first_one_dies) as served:
        ended = run(agent, place, served.url, served.key)
    assert ended.status == 0, ended.said
    assert ended.said.count("Mended.") >= CUT_AFTER + 20
    assert place.file.read_text() == AFTER
    last = [[roles(request).count("tool") for request, _ in each.asked][-1] for each in engines]
    assert last == [2, 2]
    is_billed_as_made(served)


@pytest.mark.parametrize("agent", [CODEX, QWEN], ids=lambda agent: agent.name)
def test_an_agent_whose_every_stream_is_cut_ends_with_the_reason(
    agent: Agent, tmp_path: Path
) -> None:
    place = Place.made(tmp_path)
    model = dying(installed(agent).turn_in(place.workspace))
    with serving(tmp_path / "data", model, build=Listening) as served:
        ended = run(agent, place, served.url, served.key)
    assert ended.status != 0
    assert "The model's engine failed during this request" in ended.said
    assert len(served.engines) > 2
    is_billed_as_made(served)
