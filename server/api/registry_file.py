"""The registry read again while the server runs: it holds from the next request on."""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from engines.registry.changes import RegistryChange, registry_change
from engines.registry.registry import Registry
from server.api.audited import actor_of, noted
from server.api.services import Services
from server.ledger.actors import Actor, at_this_machine
from server.refusal import CannotStart

log = logging.getLogger("fjord.registry")

Read: TypeAlias = Callable[[], Registry]
"""May block. Raises CannotStart with a line for every mistake: file, line, model, key."""


class ChangedModel(BaseModel):
    alias: str
    kind: Literal["added", "removed", "changed", "restarted"] = Field(
        description="restarted: another engine takes over once the former has ended its requests"
    )
    keys: list[str] = Field(description="What differs, by our own names")


class RegistryAnswer(BaseModel):
    applied: bool
    mistakes: list[str] = Field(description="Why nothing is changed: file, line, model, key")
    models: list[ChangedModel]
    keys: list[str] = Field(description="What differs of the whole file")


class RegistryFileReader:
    """Belongs to the event loop; one reading at a time."""

    def __init__(self, services: Services, read: Read | None) -> None:
        self._services, self._read = services, read
        self._one_by_one = asyncio.Lock()

    async def apply(self, *, is_trial: bool = False, actor: Actor | None = None) -> RegistryAnswer:
        """A file with a mistake changes nothing. Raises EngineUnavailable where the server stops,
        LedgerUnavailable where it cannot be noted. `is_trial`: nothing is changed either way.
        `actor`: who asks; None: a signal."""
        async with self._one_by_one:
            try:
                new = await asyncio.to_thread(self._read_again)
            except CannotStart as mistake:
                lines = str(mistake).splitlines()
                for line in lines:
                    log.error("the registry stays as it was: %s", line)
                return RegistryAnswer(applied=False, mistakes=lines, models=[], keys=[])
            change = registry_change(self._services.registry, new)
            if not is_trial:
                told = msgspec.to_builtins(change)
                who = actor or at_this_machine()
                await noted(self._services, who, "registry.apply", "registry", told)
                await self._hold(new, change)
            return _answer(change, is_applied=not is_trial)

    def _read_again(self) -> Registry:
        if self._read is None:
            raise CannotStart("These models are of the command line: there is no file to read.")
        new, own = self._read(), self._services.registry.currency
        if new.currency != own:
            raise CannotStart(
                f"currency: {new.currency} instead of {own} needs a restart: what is billed now "
                f"is in {own}."
            )
        if new.cluster != self._services.registry.cluster:
            raise CannotStart("cluster: another one needs a restart: engines stand on this one.")
        return new

    async def _hold(self, new: Registry, change: RegistryChange) -> None:
        services = self._services

        def swap() -> None:
            services.metrics.know(new.models)
            services.registry = new

        await services.fleet.renewal.renew(new.models.values(), swap)
        for model in change.models:
            log.info("registry: %s is %s%s", model.alias, model.kind, _named(model.keys))
        log.info("the registry was read again; models that differ: %d", len(change.models))


def _named(keys: tuple[str, ...]) -> str:
    return f" ({', '.join(keys)})" if keys else ""


def _answer(change: RegistryChange, *, is_applied: bool) -> RegistryAnswer:
    models = [ChangedModel(alias=m.alias, kind=m.kind, keys=list(m.keys)) for m in change.models]
    return RegistryAnswer(applied=is_applied, mistakes=[], models=models, keys=list(change.keys))


def add_registry_route(router: APIRouter, reader: RegistryFileReader) -> None:
    @router.post("/registry", summary="Read the registry's file again")
    async def apply_registry(
        request: Request,
        dry_run: Annotated[bool, Query(description="Say what would change, and change nothing")] = (
            False
        ),
    ) -> RegistryAnswer:
        return await reader.apply(is_trial=dry_run, actor=actor_of(request.scope))
