"""What `GET /admin/v1/now` answers."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field

from engines.fleet.view import State
from server.api.admin.models import OperatedModel

Severity: TypeAlias = Literal["critical", "warning"]


class EngineOnDevice(BaseModel):
    """An engine's part of one card, or of the machine's memory."""

    aliases: list[str]
    state: State
    planned_bytes: int
    measured_bytes: int | None = Field(description="Seen to be taken; null: it cannot tell")
    kv_bytes: int | None = Field(description="Its KV cache, full or empty")
    kv_used_bytes: int | None = Field(description="Of that, what holds tokens now")


class DeviceNow(BaseModel):
    """A card, or the machine's own memory."""

    card: int | None = Field(description="null: the machine's own memory")
    name: str
    total_bytes: int
    usable_bytes: int = Field(description="What engines may fill of it")
    planned_bytes: int
    used_bytes: int | None = Field(
        description="By whoever, at most some seconds old; null: not known"
    )
    kv_bytes: int | None
    kv_used_bytes: int | None
    engines: list[EngineOnDevice]


class Swaps(BaseModel):
    """Of a model's engines, since the server's start."""

    loads: int
    unloads: int
    sleeps: int
    wakes: int
    restarts: int = Field(description="Times a broken one was replaced")


class ModelNow(OperatedModel):
    """An alias: its engine, and what its requests are at."""

    running: int | None = Field(
        description="Requests to this alias that have their engine. So here and below null: to an "
        "owner's people"
    )
    queued: int | None = Field(
        description="Requests to it that wait for one, or for their turn there"
    )
    longest_wait_s: float | None = Field(description="Of those; null: none waits")
    tokens_per_s: float | None = Field(
        description="Generated, over the last seconds; null: nobody looked just before"
    )
    ttft_p50_ms: float | None = Field(
        description="To the first tokens of the last minute; null: there were none"
    )
    ttft_p90_ms: float | None
    ended: int | None = Field(description="Requests that ended within the last minute")
    failed: int | None = Field(description="Of those, the ones that ended with a 5xx")
    kv_usage: float | None = Field(description="Of the KV cache, 0 to 1: the fullest engine's")
    swaps: Swaps | None


class Alert(BaseModel):
    """Something that somebody should know of. `alert` is its rule's name for Prometheus, without
    `Fjord`."""

    alert: str
    severity: Severity
    aliases: list[str] = Field(description="The models that it is about; []: the server itself")
    owner: str | None = Field(description="Whom it is about")
    summary: str
    action: str = Field(description="What to do")


class MomentPast(BaseModel):
    """One look, in short."""

    at: float = Field(description="Unix seconds")
    tokens_per_s: float
    running: int
    queued: int
    ttft_p50_ms: float | None
    ttft_p90_ms: float | None


class Now(BaseModel):
    """All of a server at one moment."""

    at: float = Field(description="Unix seconds")
    draining: bool = Field(description="It shuts down: new work is refused")
    devices: list[DeviceNow] | None = Field(description="null: to an owner's people")
    models: list[ModelNow]
    alerts: list[Alert] = Field(description="The critical ones first")
    total: MomentPast | None = Field(
        description="Of all models together; null: to an owner's people"
    )
    history: list[MomentPast] = Field(
        default=[], description="While somebody watched: a look a second, at most 5 minutes"
    )
