"""/admin/v1/owners/{owner}/memory: what is kept of an owner, destroyed."""

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, Field

from server.api.responses.asked import asked
from server.api.services import Services
from server.errors import ApiError


class ForgottenOwner(BaseModel):
    owner: str
    destroyed: int = Field(description="Responses and conversations")


def add_memory_route(router: APIRouter, services: Services) -> None:
    @router.delete("/owners/{owner:path}/memory", summary="Destroy all that is kept of an owner")
    async def forget(owner: str) -> ForgottenOwner:
        memory = services.memory
        if memory is None:
            raise ApiError(404, "NOT_FOUND", "This server keeps no responses.", param="owner")
        running = services.background.of_owner(owner)
        await asyncio.gather(*map(services.background.cancel, running))
        return ForgottenOwner(owner=owner, destroyed=await asked(memory.forget, owner))
