"""One call that a request makes of llama.cpp, and what comes back from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from engines.llamacpp.pictures import PicturePrompt
from engines.llamacpp.wire import Chunk

Item: TypeAlias = Chunk | list[Chunk] | BaseException | Literal["read"] | None
"""A chunk, or several; what the call raised; "read": the prompt is; None: it returned."""


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One call of handle_completions: a request, or one choice of it."""

    fields: dict[str, Any]
    """The whole call, as llama.cpp's completion takes it; `prompt` is token ids."""
    pictures: PicturePrompt | None = None
    """What is sent as its prompt instead."""
    slots: int
    """As many as it has choices."""
    cells: int
    """Cache cells it can need at most: the prompt, and max_tokens for each choice."""
    first_index: int
    priority: int
    is_whole: bool
    """Nobody waits for its single tokens."""
    unread_tokens: int
    """Of the prompt, as far as one can tell before llama.cpp looks into its cache."""
    salt: str | None = None
    """Of its owner."""
    reads_anew: bool = False
    """It goes on from nothing but what its own calls have read."""
    adapter: str = ""
    """The name of what it is computed with beside the weights; "": they alone."""
    is_cancelled: bool = False
    overtakers: int = 0
    cached_tokens: int | None = None
    """Of the prompt, before anything of it was read for this task. None: not begun."""
    receive: "Callable[[Task, Item], None]" = field(default=lambda task, item: None)

    @property
    def prompt(self) -> Sequence[int]:
        """Its token ids; a picture's are numbers of its own."""
        if self.pictures is not None:
            return self.pictures.known_as
        ids: list[int] = self.fields["prompt"]
        return ids

    def read_anew(self) -> None:
        self.reads_anew, self.unread_tokens = True, len(self.prompt)

    @property
    def form_characters(self) -> int:
        """Of its grammar, which llama.cpp compiles between two steps as the call begins."""
        return len(self.fields.get("grammar") or "")

    @property
    def is_seeded(self) -> bool:
        """Its text is the same each time, where nothing else runs."""
        return not self.fields["cache_prompt"]
