"""A streamed answer, read to its end: its events as they came, and its chunks."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from server.conform.unmet import Unmet


@dataclass(slots=True)
class Streamed:
    """`raw` is the body; events are the texts behind `data:`, comments left out."""

    status_code: int
    headers: httpx.Headers
    raw: bytes

    events: list[str] = field(default_factory=list)
    strange_lines: list[str] = field(default_factory=list)
    """Lines that are neither data, comment nor empty."""

    def __post_init__(self) -> None:
        for line in self.text.split("\n"):
            line = line.removesuffix("\r")
            if line.startswith("data:"):
                self.events.append(line.removeprefix("data:").removeprefix(" "))
            elif line and not line.startswith(":"):
                self.strange_lines.append(line)

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    @property
    def chunks(self) -> list[Any]:
        """The JSON of every event but [DONE]. Raises Unmet where there is none."""
        if self.status_code != 200:
            raise Unmet("a stream", f"{self.status_code}: {self.text[:120]}")
        try:
            chunks = [json.loads(e) for e in self.events if e != "[DONE]"]
        except ValueError as e:
            raise Unmet("JSON in every event", str(e)) from None
        if not chunks:
            raise Unmet("at least one chunk", "none")
        return chunks

    def choices(self, index: int = 0) -> list[Any]:
        """The parts of one choice, in order."""
        parts = [c for chunk in self.chunks for c in chunk.get("choices", [])]
        return [c for c in parts if c.get("index") == index]

    def joined(self, member: str = "content", index: int = 0) -> str:
        """A text member of the deltas, put together."""
        return "".join(c.get("delta", {}).get(member) or "" for c in self.choices(index))

    def finish_reason(self, index: int = 0) -> str | None:
        reasons = [c["finish_reason"] for c in self.choices(index) if c.get("finish_reason")]
        return reasons[-1] if reasons else None
