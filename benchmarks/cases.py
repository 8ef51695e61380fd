"""What is sent: the cases of the table, each a fixed set of requests."""

import json
import random
from dataclasses import dataclass

from benchmarks.models import make_prompt
from benchmarks.servers import ALIAS

SHORT_TOKENS, LONG_TOKENS = 32, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`requests` requests, at most `streams` at once."""

    streams: int
    requests: int
    output_tokens: int
    """On average: lengths vary by a quarter, or all streams would end and begin in step."""
    prompt_tokens: int = SHORT_TOKENS
    stream: bool = True

    @property
    def name(self) -> str:
        """Unique among the cases of a model."""
        form = "streamed" if self.stream else "whole"
        prompt = ", 4k prompt" if self.prompt_tokens >= LONG_TOKENS else ""
        if self.requests == self.streams:
            form = "at once" if self.stream else "whole at once"
        return f"{self.streams} {form}{prompt}"


WARM_UP = Case(streams=16, requests=32, output_tokens=24)


def cases_of(model: str, *, quick: bool = False) -> list[Case]:
    """The table's rows for a model, short enough for many rounds."""
    if quick:
        return [
            Case(streams=16, requests=64, output_tokens=48),
            Case(streams=16, requests=64, output_tokens=48, stream=False),
        ]
    if model == "deep":
        return [Case(streams=256, requests=512, output_tokens=128)]
    if model == "smollm2":
        return [
            Case(streams=1, requests=3, output_tokens=64),
            Case(streams=32, requests=64, output_tokens=64),
            Case(streams=32, requests=64, output_tokens=64, stream=False),
        ]
    return [
        Case(streams=1, requests=8, output_tokens=128),
        Case(streams=16, requests=64, output_tokens=128),
        Case(streams=64, requests=256, output_tokens=128),
        Case(streams=256, requests=768, output_tokens=128),
        Case(streams=512, requests=1024, output_tokens=128),
        Case(streams=64, requests=256, output_tokens=128, stream=False),
        Case(streams=64, requests=128, output_tokens=128, prompt_tokens=LONG_TOKENS),
    ]


def bodies(case: Case, seed: int) -> list[str]:
    """The requests' JSON: the same for every side, another prompt each."""
    drawn = random.Random(seed)
    return [_body(case, seed * 100_000 + number, drawn) for number in range(case.requests)]


def _body(case: Case, seed: int, drawn: random.Random) -> str:
    length = round(case.output_tokens * drawn.uniform(0.75, 1.25))
    body = {
        "model": ALIAS,
        "messages": [{"role": "user", "content": make_prompt(seed, case.prompt_tokens)}],
        "max_tokens": length,
        "ignore_eos": True,
        "temperature": 0,
        "stream": case.stream,
    }
    return json.dumps(body | ({"stream_options": {"include_usage": True}} if case.stream else {}))
