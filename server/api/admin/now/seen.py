"""What an owner's people see of a server: the models that the owner may know of and how their
engines are, without what all owners together do with them."""

from collections.abc import Set
from typing import Final

from server.api.admin.models import narrowed
from server.api.admin.now.wire import Alert, ModelNow, Now

_OF_AN_OWNER: Final = frozenset({"EngineFailed", "EngineReplaced", "BudgetSpent"})
_UNTOLD: Final = (
    *("running", "queued", "longest_wait_s", "tokens_per_s", "ttft_p50_ms", "ttft_p90_ms"),
    *("ended", "failed", "kv_usage", "swaps", "measured_bytes"),
)


def seen_by(now: Now, owner: str | None, known: Set[str]) -> Now:
    """`known`: the aliases that `owner` may know of; None: all is seen."""
    if owner is None:
        return now
    return now.model_copy(
        update={
            "models": [_seen_model(m, known) for m in now.models if m.alias in known],
            "devices": None,
            "alerts": [alert for alert in now.alerts if _is_seen(alert, owner, known)],
            "total": None,
            "history": [],
        }
    )


def _seen_model(model: ModelNow, known: Set[str]) -> ModelNow:
    return narrowed(model, known).model_copy(update=dict.fromkeys(_UNTOLD))


def _is_seen(alert: Alert, owner: str, known: Set[str]) -> bool:
    if alert.owner is not None:
        return alert.owner == owner
    return alert.alert in _OF_AN_OWNER and known >= set(alert.aliases)
