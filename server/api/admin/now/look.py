"""All of a server at one moment, of what its parts know anyway."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from engines.fleet.status import EngineStatus
from server.api.admin.models import OperatedModel, operated_models
from server.api.admin.now.alerts import LOOK_BACK_S, Facts, alerts_of
from server.api.admin.now.devices import CardUse, devices_now
from server.api.admin.now.speed import MINUTE_S, TokenRates, Traffic, percentile_ms, traffic_of
from server.api.admin.now.wire import Alert, ModelNow, MomentPast, Now, Swaps
from server.api.services import Services
from server.http.recent_requests import RecentRequest, RecentRequests
from server.ledger.backlog import backlog_of

DISK_EVERY_S: Final = 10.0


class Looks:
    """Belongs to the event loop."""

    def __init__(self, services: Services, recent: RecentRequests) -> None:
        self._services, self._recent = services, recent
        self._rates = TokenRates(services.supervisor.generated)
        self._cards = CardUse(services.fleet.memory.free_bytes)
        self._disk_read_at = -DISK_EVERY_S

    async def look(self) -> Now:
        """Takes a millisecond or so; a disk or a driver that hangs, a second now and then."""
        await self._read()
        services, now, clock = self._services, time.monotonic(), time.time()
        ended = list(self._recent.since(clock - LOOK_BACK_S))
        minute = [each for each in ended if clock - each.ended_at <= MINUTE_S]
        traffic = traffic_of(services.supervisor.live(), minute, now, clock)
        engines = services.fleet.statuses()
        rates = self._rates.look(now)
        return Now(
            at=round(clock, 3),
            draining=services.supervisor.draining,
            devices=devices_now(services.fleet.memory, engines, self._cards.free),
            models=list(self._models(engines, traffic, rates, now)),
            alerts=self._alerts(engines, ended, traffic, now, clock),
            total=_total(traffic, rates, clock),
        )

    async def _read(self) -> None:
        """What is asked in threads, side by side."""
        asked = [self._cards.read()] if self._services.fleet.memory.plan else []
        if time.monotonic() - self._disk_read_at >= DISK_EVERY_S:
            self._disk_read_at = time.monotonic()
            asked.append(self._services.disk_space.read())
        if asked:
            await asyncio.gather(*asked)

    def _models(
        self,
        engines: Iterable[EngineStatus],
        traffic: Mapping[str, Traffic],
        rates: Mapping[str, float] | None,
        now: float,
    ) -> Iterable[ModelNow]:
        by_alias: dict[str, list[EngineStatus]] = {}
        for engine in engines:
            for alias in engine.aliases:
                by_alias.setdefault(alias, []).append(engine)
        for model in operated_models(self._services.fleet, self._services.registry):
            alias = model.alias
            rate = None if rates is None else round(rates.get(alias, 0.0), 1)
            own = traffic.get(alias) or Traffic()
            yield _model(model, own, rate, by_alias.get(alias, []), now)

    def _alerts(
        self,
        engines: Sequence[EngineStatus],
        ended: Sequence[RecentRequest],
        traffic: Mapping[str, Traffic],
        now: float,
        clock: float,
    ) -> list[Alert]:
        services = self._services
        ends_at = services.metrics.certificate_ends_at
        waits = {a: _longest_s(t, now) for a, t in traffic.items()}
        facts = Facts(
            at=clock,
            engines=engines,
            backlog=backlog_of(services.ledger),
            disk=services.disk_space.known,
            sequences=services.supervisor.sequences(),
            queue_limit=services.settings.queue_limit,
            longest_waits_s={a: wait for a, wait in waits.items() if wait is not None},
            ended=ended,
            certificate_ends_at=None if ends_at is None else ends_at(),
        )
        return alerts_of(facts)


def _model(
    model: OperatedModel,
    own: Traffic,
    rate: float | None,
    engines: Sequence[EngineStatus],
    now: float,
) -> ModelNow:
    usages = [e.stats.kv_cache_usage for e in engines if e.stats is not None]
    return ModelNow(
        **model.model_dump(),
        running=own.running,
        queued=len(own.waits_since),
        longest_wait_s=_longest_s(own, now),
        tokens_per_s=rate,
        ttft_p50_ms=percentile_ms(own.ttfts_s, 0.5),
        ttft_p90_ms=percentile_ms(own.ttfts_s, 0.9),
        ended=own.ended,
        failed=own.failed,
        kv_usage=round(max(usages), 3) if usages else None,
        swaps=_swaps(engines),
    )


def _longest_s(own: Traffic, now: float) -> float | None:
    return round(now - min(own.waits_since), 1) if own.waits_since else None


def _swaps(engines: Sequence[EngineStatus]) -> Swaps:
    return Swaps(
        loads=sum(e.loads for e in engines),
        unloads=sum(sum(e.unloads.values()) for e in engines),
        sleeps=sum(e.sleep.sleeps for e in engines),
        wakes=sum(e.sleep.wakes for e in engines),
        restarts=sum(e.restarts for e in engines),
    )


def _total(
    traffic: Mapping[str, Traffic], rates: Mapping[str, float] | None, clock: float
) -> MomentPast:
    ttfts = [ttft for own in traffic.values() for ttft in own.ttfts_s]
    return MomentPast(
        at=round(clock, 1),
        tokens_per_s=round(sum((rates or {}).values()), 1),
        running=sum(own.running for own in traffic.values()),
        queued=sum(len(own.waits_since) for own in traffic.values()),
        ttft_p50_ms=percentile_ms(ttfts, 0.5),
        ttft_p90_ms=percentile_ms(ttfts, 0.9),
    )
