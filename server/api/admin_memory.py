"""/admin/v1/owners/{owner}/memory: what is kept of an owner, destroyed."""

import asyncio
from contextlib import closing

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from server.api.audited import actor_of, noted
from server.api.responses.asked import asked
from server.api.services import Services
from server.ledger.owner_store import OwnerStore


class ForgottenOwner(BaseModel):
    owner: str
    destroyed: int = Field(description="Responses and conversations")
    answers: int = Field(description="Answers that were kept for an Idempotency-Key")


def add_memory_route(router: APIRouter, services: Services) -> None:
    def _name_of(word: str) -> str:
        with closing(services.ledger.open_books()) as books:
            return OwnerStore(books).name_of(word)

    @router.delete("/owners/{owner:path}/memory", summary="Destroy all that is kept of an owner")
    async def forget(owner: str, request: Request) -> ForgottenOwner:
        owner = await asyncio.to_thread(_name_of, owner)
        await noted(services, actor_of(request.scope), "owner.forget", owner)
        destroyed = 0
        if (memory := services.memory) is not None:
            running = services.background.of_owner(owner)
            await asyncio.gather(*map(services.background.cancel, running))
            destroyed = await asked(memory.forget, owner)
        answers = await services.keyed.forget_owner(owner)
        return ForgottenOwner(owner=owner, destroyed=destroyed, answers=answers)
