"""A plan as one JSON document: bytes and counts, nothing rounded."""

from collections.abc import Sequence
from typing import Any

from engines.fleet.planned_sleep import SleepPlan
from engines.planning.demands import capacity
from engines.planning.plan import Placed
from engines.planning.remedies import Remedy
from server.cli.plan_sleep import sleep_as_json


def plan_as_json(found: SleepPlan, profile: str, others: Sequence[str]) -> dict[str, Any]:
    """`others`: profiles that fit these cards whole."""
    plan, machine = found.plan, found.plan.machine
    return {
        "profile": profile,
        "cards": [
            {
                "name": card.name or None,
                "label_gb": card.label_gb,
                "total_bytes": card.total_bytes,
                "usable_bytes": capacity(card),
            }
            for card in machine.cards
        ],
        "host_bytes": machine.host_bytes,
        "turns": [
            list(dict.fromkeys(a for each in plan.of_turn(turn) for a in each.asked.aliases))
            for turn in range(1, plan.turns + 1)
        ],
        "engines": [_engine(each) for each in plan.engines],
        "sleep": sleep_as_json(found),
        "pinned_that_do_not_fit_together": plan.named(plan.pins.clashing),
        "kept_out_by_pinned": plan.named(plan.pins.kept_out),
        "profiles_that_fit": list(others),
    }


def _engine(placed: Placed) -> dict[str, Any]:
    asked = placed.asked
    return {
        "engine": asked.spec.key,
        "aliases": list(asked.aliases),
        "replica": asked.spec.replica + 1,
        "replicas": asked.replicas,
        "source": asked.spec.source,
        "preload": asked.preload,
        "is_pinned": asked.is_pinned,
        "verdict": placed.verdict,
        "reason": (placed.fit.refusal if placed.fit else asked.unknown) or None,
        "turn": placed.turn or None,
        "cards": list(placed.cards),
        "streams_at_full_context": placed.streams,
        "kv_cache_bytes_per_card": placed.kv_bytes,
        "stored_bytes": asked.facts.stored_bytes if asked.facts else None,
        **_need(placed),
        "would_fit": [_remedy(each) for each in placed.remedies],
    }


def _need(placed: Placed) -> dict[str, Any]:
    if placed.fit is None:
        return {"per_card": None}
    need = placed.fit.need
    return {
        "world_size": placed.fit.demand.world,
        "context_tokens": need.context_tokens,
        "kv_bytes_per_token": need.model_token_bytes,
        "per_card": {
            "weights_bytes": need.weights_bytes,
            "reserve_bytes": need.reserve_bytes,
            "kv_bytes_per_token": need.token_bytes,
            "stream_bytes": need.stream_bytes,
            "least_bytes": need.least_bytes,
            "is_measured": need.is_measured,
        },
    }


def _remedy(remedy: Remedy) -> dict[str, Any]:
    told = {"kind": remedy.kind, "text": remedy.text, "source": remedy.source, "args": remedy.args}
    return {name: value for name, value in told.items() if value is not None}
