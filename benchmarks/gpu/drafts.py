"""Speculative decoding: as many tokens, mostly the same ones, and some drafts accepted."""

import asyncio
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import alike, answer, pace, running

DRAFTS: dict[str, Any] = {
    "method": "ngram",
    "num_speculative_tokens": 4,
    "prompt_lookup_max": 3,
    "prompt_lookup_min": 1,
}
"""Proposed from the prompt itself: needs no second model."""
ANSWERS, TOKENS = 8, 96


def drafts(setting: Setting) -> None:
    """The same prompts without drafts and with them."""
    asyncio.run(_drafts(setting))


async def _drafts(setting: Setting) -> None:
    steps, told = Steps(setting), []
    for name, args in (("alone", {}), ("with drafts", {"speculative_config": DRAFTS})):
        async with running(setting, name, **args) as engine:
            told.append(await steps.take(f"{name}: answers", _answers(setting, engine)))
            speed = await pace(engine, setting.of(16), TOKENS)
            setting.note({name: speed.as_json()})
            stats = engine.stats()
    same = alike(*told)
    found = {"proposed": stats.draft_tokens, "accepted": stats.accepted_tokens}
    setting.note({"answers_alike": same, **found})
    if not stats.draft_tokens:
        raise Failed("no draft was proposed")
    if setting.rehearse and same < 1:
        raise Failed(f"{same:.0%} of the answers are the same with drafts")


async def _answers(setting: Setting, engine: Any) -> list[str]:
    return [await answer(engine, number, TOKENS) for number in range(setting.of(ANSWERS))]
