"""Machines that have joined this server, as its operators see them."""

import time
from typing import Literal

from pydantic import BaseModel, Field

from engines.joined.node import JoinedNode


class MachinePart(BaseModel):
    engine: str
    state: Literal["starting", "running", "frozen", "ended"]
    words: str = Field(description="Why it ended, in its own last words")


class MachineCard(BaseModel):
    name: str
    total_bytes: int
    free_bytes: int | None = Field(description="That nobody holds")


class JoinedMachine(BaseModel):
    """One machine that runs parts of this server's engines."""

    name: str
    state: Literal["joined", "away", "lost"] = Field(
        description="away: its link is down for a moment. lost: what it ran is given up"
    )
    address: str
    for_s: float = Field(description="Seconds since it joined first, its process being the same")
    silent_s: float = Field(description="Seconds since it was heard")
    fjord: str
    vllm: str
    torch: str
    driver: str
    cards: list[MachineCard]
    doing: str = Field(description="What it works at now, in words")
    parts: list[MachinePart]


def joined_machine(node: JoinedNode) -> JoinedMachine:
    facts = node.facts
    return JoinedMachine(
        name=node.name,
        state=node.state,
        address=node.address,
        for_s=round(time.monotonic() - node.since, 1),
        silent_s=round(node.silent_s, 1),
        fjord=facts.fjord,
        vllm=facts.vllm,
        torch=facts.torch,
        driver=facts.driver,
        cards=_cards(node),
        doing=node.doing,
        parts=[
            MachinePart(engine=part.engine, state=part.state, words=part.words)
            for part in node.parts.values()
            if not node.is_lost
        ],
    )


def _cards(node: JoinedNode) -> list[MachineCard]:
    free = [*node.free, *([None] * len(node.facts.cards))]
    return [
        MachineCard(name=card.name, total_bytes=card.total, free_bytes=free[i])
        for i, card in enumerate(node.facts.cards)
    ]
