"""The fields of a form that keys, owners and members share: what they may use."""

from collections.abc import Mapping
from typing import Any, Final

from server.console.forms.form import Form

LIMITS: Final = ("requests_per_minute", "burst", "concurrent", "tokens_per_minute")
PLAIN: Final = (*LIMITS, "currency", "price_factor")
BUDGET: Final = ("budget.amount", "budget.kind", "budget.period")
BUDGET_DEFAULTS: Final = {"budget.kind": "money", "budget.period": "month"}


def allowance_values(shown: Mapping[str, Any]) -> dict[str, str]:
    """As a form shows a level of the admin API."""
    budget = shown["budget"] or {}
    return {
        **{name: text_of(shown[name]) for name in PLAIN},
        "models": "\n".join(shown["models"] or ()),
        "budget.amount": text_of(budget.get("amount")),
        "budget.kind": budget.get("kind", "money"),
        "budget.period": budget.get("period", "month"),
    }


def allowance_body(form: Form) -> dict[str, Any]:
    """As the admin API takes it: what was changed."""
    body: dict[str, Any] = dict(form.changed_texts(PLAIN))
    if form.is_changed("models"):
        body["models"] = models_of(form.value("models"))
    if _is_budget_changed(form):
        body["budget"] = _budget(form)
    return body


def models_of(text: str) -> list[str] | None:
    """One a line; None: nothing is said."""
    return [line.strip() for line in text.splitlines() if line.strip()] or None


def text_of(value: object) -> str:
    return "" if value is None else str(value)


def _is_budget_changed(form: Form) -> bool:
    if form.is_changed("budget.amount"):
        return True
    told = ("budget.kind", "budget.period", "currency")
    return bool(form.text("budget.amount")) and any(form.is_changed(name) for name in told)


def _budget(form: Form) -> dict[str, str] | None:
    if not form.text("budget.amount"):
        return None
    kind, period = (form.text(n) or default for n, default in BUDGET_DEFAULTS.items())
    return {"kind": kind, "amount": form.text("budget.amount"), "period": period}
