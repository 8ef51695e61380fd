"""/admin/v1/owners/{owner}/memory: what is kept of an owner, destroyed."""

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, Field

from server.api.responses.asked import asked
from server.api.services import Services


class ForgottenOwner(BaseModel):
    owner: str
    destroyed: int = Field(description="Responses and conversations")
    answers: int = Field(description="Answers that were kept for an Idempotency-Key")


def add_memory_route(router: APIRouter, services: Services) -> None:
    @router.delete("/owners/{owner:path}/memory", summary="Destroy all that is kept of an owner")
    async def forget(owner: str) -> ForgottenOwner:
        destroyed = 0
        if (memory := services.memory) is not None:
            running = services.background.of_owner(owner)
            await asyncio.gather(*map(services.background.cancel, running))
            destroyed = await asked(memory.forget, owner)
        answers = await services.keyed.forget_owner(owner)
        return ForgottenOwner(owner=owner, destroyed=destroyed, answers=answers)
