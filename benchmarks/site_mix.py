"""What clients of a site ask, seeded: prompts with shared beginnings, short and long.

Four kinds, as a site of several tenants has them: chats behind a tenant's system prompt, each turn
with all before it; agents, whose tools and instructions are long and shared, and whose histories
grow; questions about one of a few long documents; and short ones of their own. The same seed gives
the same requests.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = ("boat", "tide", "quay", "rope", "light", "storm", "harbour", "wind", "net", "anchor")
SHARES = {"chat": 0.5, "agent": 0.2, "document": 0.15, "alone": 0.15}
TENANTS, TOOLBOXES, DOCUMENTS = 40, 6, 24
"""Of one node."""
OPEN, MOST_TURNS = 12, 8
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class MixedRequest:
    """One request; when it comes is another's matter. Tokens are words here."""

    kind: str
    messages: tuple[Message, ...]
    output_tokens: int


class Mix:
    """An endless run of requests. `scale`: a site of so many nodes has as many times the tenants,
    toolboxes, documents and open conversations."""

    def __init__(self, seed: int = 1, scale: int = 1) -> None:
        self._chance, self._scale = random.Random(seed), scale
        self._systems = [self._text(self._between(150, 900)) for _ in range(TENANTS * scale)]
        self._tools = [self._text(self._between(2000, 5000)) for _ in range(TOOLBOXES * scale)]
        self._documents = [self._text(self._between(3000, 8000)) for _ in range(DOCUMENTS * scale)]
        self._open: dict[str, list[list[Message]]] = {"chat": [], "agent": []}

    def requests(self, count: int) -> Iterator[MixedRequest]:
        kinds = self._chance.choices(list(SHARES), list(SHARES.values()), k=count)
        for kind in kinds:
            yield self._request(kind)

    def _request(self, kind: str) -> MixedRequest:
        match kind:
            case "chat":
                messages = self._turn(kind, self._some(self._systems), (10, 120))
            case "agent":
                messages = self._turn(kind, self._some(self._tools), (30, 400))
            case "document":
                asked = self._said(self._text(self._between(8, 40)))
                messages = [{"role": "system", "content": self._some(self._documents)}, asked]
            case _:
                messages = [self._said(self._text(self._between(20, 300)))]
        return MixedRequest(kind, tuple(messages), self._between(8, 256))

    def _turn(self, kind: str, system: str, length: tuple[int, int]) -> list[Message]:
        """The next of one that goes on, or the first of a new one."""
        going = self._open[kind]
        is_new = len(going) < OPEN * self._scale or self._chance.random() < 0.3
        talk = [{"role": "system", "content": system}] if is_new else self._chance.choice(going)
        if is_new:
            going.append(talk)
        else:
            talk.append({"role": "assistant", "content": self._text(self._between(20, 200))})
        talk.append(self._said(self._text(self._between(*length))))
        if len(talk) >= 2 * MOST_TURNS:
            going.remove(talk)
        return list(talk)

    def _some(self, texts: list[str]) -> str:
        """The first often, the last seldom: Zipf's law."""
        return self._chance.choices(texts, [1 / (i + 1) for i in range(len(texts))])[0]

    def _said(self, text: str) -> Message:
        return {"role": "user", "content": text}

    def _text(self, words: int) -> str:
        return " ".join(self._chance.choices(WORDS, k=words))

    def _between(self, least: int, most: int) -> int:
        """Short ones are more common than long ones."""
        return int(least * (most / least) ** self._chance.random())
