"""Answers in a form, with a vocabulary of 150,000 tokens: how long it takes to be ready for one,
and what it costs each token."""

import asyncio
import json
import re
import time
from typing import Any

import jsonschema

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import deltas_of, pace, request, running
from engines.base import Sampling, Structure

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 12},
        "depth": {"type": "integer", "minimum": 0, "maximum": 9999},
        "kind": {"enum": ["fjord", "bay", "sound"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 3},
    },
    "required": ["name", "depth", "kind", "tags"],
    "additionalProperties": False,
}
REGEX = "[a-z]{3,9}-[0-9]{2,4}"
CHOICES = ("yes", "no", "perhaps")
FORMS = {
    "schema": Structure(kind="json_schema", value=SCHEMA),
    "regex": Structure(kind="regex", value=REGEX),
    "choice": Structure(kind="choice", value=CHOICES),
}
STREAMS = 32


def forms(setting: Setting) -> None:
    """Each form twice (the first time it is compiled), then many at once; the same with drafts,
    which the form must bind too."""
    asyncio.run(_forms(setting))


async def _forms(setting: Setting) -> None:
    from benchmarks.gpu.drafts import DRAFTS

    steps = Steps(setting)
    async with running(setting, "forms") as engine:
        await _each_twice(setting, steps, engine, "")
        free = await pace(engine, setting.of(STREAMS), 64)
        streams = setting.of(STREAMS)
        bound = await pace(engine, streams, 64, sampling=_loose(), structure=FORMS["schema"])
        setting.note({"free": free.as_json(), "in a form": bound.as_json()})
    async with running(setting, "forms and drafts", speculative_config=DRAFTS) as engine:
        await _each_twice(setting, steps, engine, ", with drafts")


async def _each_twice(setting: Setting, steps: Steps, engine: Any, beside: str) -> None:
    for name, structure in FORMS.items():
        for time_ in ("first", "second"):
            step = f"{name}, {time_} time{beside}"
            await steps.take(step, _one(engine, name, structure))


async def _one(engine: Any, name: str, structure: Structure) -> float:
    began, asked = time.monotonic(), request(5, sampling=_loose(), structure=structure)
    told = "".join(delta.text for delta in await deltas_of(engine, asked))
    if not _has_form(name, told):
        raise Failed(f"{name}: {told[:200]!r} has not the form that was asked for")
    return time.monotonic() - began


def _loose() -> Sampling:
    """Seeded, not greedy: a greedy random model may never close a string."""
    return Sampling(max_tokens=400, temperature=1.0, seed=3)


def _has_form(name: str, told: str) -> bool:
    if name == "regex":
        return re.fullmatch(REGEX, told) is not None
    if name == "choice":
        return told in CHOICES
    try:
        jsonschema.validate(json.loads(told), SCHEMA)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True
