"""Splits reasoning from the answer while it streams, at a cost a token that never grows.

Where both marks are single tokens of the vocabulary, the token's id decides, so that the same
letters written as ordinary text stay text. Otherwise the text is searched, and at most one mark's
length of it is held back. Knows no engine.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from engines.base import Reasoning

Decode = Callable[[Sequence[int]], str]

_TAIL = 5
"""Tokens at a prompt's end in which a template opens or closes the thinking: at most <think>, a
newline, </think>, a newline. Further back stands what a user wrote."""


def as_prompted(
    reasoning: Reasoning, prompt_ids: Sequence[int], start_id: int | None, end_id: int | None
) -> Reasoning:
    """`reasoning` as the prompt's own end shows it: a template whose switches turn the thinking off
    closes it there, and the answer must not be taken for a thought. What the registry says counts
    where the end shows nothing, or where a mark is no single token."""
    if start_id is None or end_id is None:
        return reasoning
    for token_id in reversed(prompt_ids[-_TAIL:]):
        if token_id == end_id:
            return replace(reasoning, opened_by="model")
        if token_id == start_id:
            return replace(reasoning, opened_by="template")
    return reasoning


def is_closed(prompt_ids: Sequence[int], start_id: int | None, end_id: int | None) -> bool:
    """Whether the prompt's own end closes the thinking, so that the answer begins at once."""
    marks = [i for i in prompt_ids[-_TAIL:] if i in (start_id, end_id)]
    return None not in (start_id, end_id) and marks[-1:] == [end_id]


class ThinkingSplitter:
    """One choice's splitter: feed it each delta once, in order.

    `start_id`, `end_id`: the marks' token ids; None where a mark is several tokens. `decode` makes
    text of ids: it finds which token of a merged delta completed a mark of several tokens.

    After `feed(text, ids, is_last)` returned (reasoning, answer, reasoning tokens), nothing of a
    mark is in either. The marks' own tokens count as reasoning. Newlines directly after a mark
    belong to neither.
    """

    __slots__ = (
        "_count_inside",
        "_decode",
        "_end",
        "_end_id",
        "_first_letters",
        "_held",
        "_inside",
        "_marks_due",
        "_start",
        "_start_id",
        "_strip",
        "_was_cut",
    )

    def __init__(
        self,
        reasoning: Reasoning,
        start_id: int | None = None,
        end_id: int | None = None,
        decode: Decode | None = None,
    ) -> None:
        self._start = reasoning.start
        self._end = reasoning.end
        self._first_letters = frozenset((reasoning.start[:1], reasoning.end[:1]))
        by_id = start_id is not None and end_id is not None
        self._start_id = start_id if by_id else None
        self._end_id = end_id if by_id else None
        self._decode = decode
        self._inside = self._count_inside = self._strip = reasoning.opened_by == "template"
        self._held = ""
        self._was_cut = False
        self._marks_due = 0
        """Marks whose id was seen and whose text is still to come: text may lag behind ids."""

    @property
    def inside(self) -> bool:
        """Whether the next token is taken for reasoning."""
        return self._count_inside if self._end_id is not None else self._inside

    def feed(
        self, text: str, token_ids: Sequence[int], is_last: bool = False
    ) -> tuple[str, str, int]:
        if self._end_id is None:
            return self._feed_text(text, token_ids, is_last)
        count = self._count_by_id(token_ids)
        if not (self._marks_due or self._strip or self._held):
            return (text, "", count) if self._inside else ("", text, count)
        reasoning, answer = self._split(text, is_last, self._marks_due)
        return reasoning, answer, count

    def _count_by_id(self, token_ids: Sequence[int]) -> int:
        """Reasoning tokens in a delta, marks included; notes the marks that the text will show."""
        if self._end_id not in token_ids and self._start_id not in token_ids:
            return len(token_ids) if self._count_inside else 0
        count = 0
        for token_id in token_ids:
            is_mark = token_id == self._start_id or token_id == self._end_id
            count += is_mark or self._count_inside
            if is_mark:
                self._marks_due += 1
                self._count_inside = token_id == self._start_id
        return count

    def _feed_text(
        self, text: str, token_ids: Sequence[int], is_last: bool
    ) -> tuple[str, str, int]:
        was_inside, held = self._inside, self._held
        reasoning, answer = self._split(text, is_last, None)
        if not self._was_cut:
            return reasoning, answer, len(token_ids) if was_inside else 0
        return reasoning, answer, self._tokens_inside(held, token_ids, was_inside)

    def _tokens_inside(self, held: str, token_ids: Sequence[int], was_inside: bool) -> int:
        """How many of a delta's tokens are reasoning, where a mark fell into it: walk its ids
        once. Happens at a mark only, so twice in an answer."""
        if self._decode is None or len(token_ids) <= 1:
            return len(token_ids)
        inside, done, count, tail = was_inside, 0, 0, held
        size = max(len(self._start), len(self._end))
        for position in range(1, len(token_ids) + 1):
            piece = self._decode(token_ids[done:position])
            if piece.endswith("\ufffd"):
                continue  # in the middle of a character
            tail += piece
            mark = self._end if inside else self._start
            at = tail.find(mark)
            count += (position - done) if inside or at >= 0 else 0
            if at >= 0:
                inside, tail = not inside, tail[at + len(mark) :]
            done, tail = position, tail[-size:]
        return count

    def _split(self, text: str, is_last: bool, due: int | None) -> tuple[str, str]:
        """Cut `text` at its marks; `due` limits how many count (None: all that are there)."""
        rest = self._held + text
        self._held, self._was_cut = "", False
        reasoning: list[str] = []
        answer: list[str] = []
        while due is None or due > 0:
            at, mark = self._next_mark(rest)
            if at < 0:
                break
            self._keep(rest[:at], reasoning, answer)
            rest = rest[at + len(mark) :]
            self._inside = mark == self._start
            self._strip = self._was_cut = True
            due = None if due is None else due - 1
        if due is not None:
            self._marks_due = due
        if not is_last and due != 0:
            cut = len(rest) - self._partial_mark(rest)
            rest, self._held = rest[:cut], rest[cut:]
        self._keep(rest, reasoning, answer)
        return "".join(reasoning), "".join(answer)

    def _next_mark(self, text: str) -> tuple[int, str]:
        start, end = text.find(self._start), text.find(self._end)
        if start >= 0 and (end < 0 or start < end):
            return start, self._start
        return end, self._end

    def _keep(self, text: str, reasoning: list[str], answer: list[str]) -> None:
        if self._strip and text:
            text = text.lstrip("\n")
            self._strip = not text
        (reasoning if self._inside else answer).append(text)

    def _partial_mark(self, text: str) -> int:
        """Length of the longest end of `text` that may become a mark."""
        longest = min(len(text), max(len(self._start), len(self._end)) - 1)
        if longest < 1 or self._first_letters.isdisjoint(text[-longest:]):
            return 0  # nearly every token: 1 of 2.4 µs
        for length in range(longest, 0, -1):
            tail = text[-length:]
            if self._start.startswith(tail) or self._end.startswith(tail):
                return length
        return 0
