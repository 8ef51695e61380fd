"""/admin/v1/owners/{owner}/memory: what is kept of an owner, destroyed."""

import asyncio
from contextlib import closing

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from server.api.audited import actor_of
from server.api.responses.asked import asked
from server.api.services import Services
from server.ledger.actors import Actor
from server.ledger.audit import note
from server.ledger.owner_store import OwnerStore


class ForgottenOwner(BaseModel):
    owner: str
    destroyed: int = Field(description="Responses and conversations")
    answers: int = Field(description="Answers that were kept for an Idempotency-Key")


def add_memory_route(router: APIRouter, services: Services) -> None:
    def _noted(word: str, actor: Actor) -> str:
        """The owner's name. Of one that nobody knows there is no entry."""
        with closing(services.ledger.open_books()) as books:
            books.actor = actor
            store = OwnerStore(books)
            if (found := store.find(word)) is not None:
                note(books, "owner.forget", found.name)
            return word if found is None else found.name

    @router.delete("/owners/{owner:path}/memory", summary="Destroy all that is kept of an owner")
    async def forget(owner: str, request: Request) -> ForgottenOwner:
        owner = await asyncio.to_thread(_noted, owner, actor_of(request.scope))
        destroyed = 0
        if (memory := services.memory) is not None:
            await services.recorder.forget(owner)
            running = services.background.of_owner(owner)
            await asyncio.gather(*map(services.background.cancel, running))
            destroyed = await asked(memory.forget, owner)
        answers = await services.keyed.forget_owner(owner)
        return ForgottenOwner(owner=owner, destroyed=destroyed, answers=answers)
