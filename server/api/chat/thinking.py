"""What a request asks of thinking, wherever it says it -> switches, effort, budget, and whether the
trace is shown."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from engines.base import ThinkingBudget
from engines.registry.spec import ModelSpec
from server.api.chat.template_kwargs import switches, template_kwargs
from server.api.chat.thought_bounds import budget_of_tokens, thought_budget
from server.api.chat.wire_thinking import BudgetFields, ReasoningOptions, ThinkingConfig
from server.errors import ApiError


class Thinking(NamedTuple):
    """What a generation needs of it."""

    template_kwargs: Mapping[str, Any]
    budget: ThinkingBudget | None
    is_shown: bool


class AsksOfThinking(Protocol):
    """What chat and responses have of it."""

    @property
    def chat_template_kwargs(self) -> dict[str, Any] | None: ...
    @property
    def enable_thinking(self) -> bool | None: ...
    @property
    def thinking(self) -> ThinkingConfig | None: ...
    @property
    def include_reasoning(self) -> bool | None: ...
    @property
    def reasoning(self) -> ReasoningOptions | None: ...
    @property
    def verbosity_asked(self) -> tuple[str, str | None]:
        """The field, and what it says."""
        ...


class _Said(NamedTuple):
    field: str
    value: Any


def thinking_of(
    wire: AsksOfThinking, budgets: BudgetFields, spec: ModelSpec, effort: str | None = None
) -> Thinking:
    """`budgets` is the same body; `effort`: chat's reasoning_effort. Raises ApiError 400 where two
    fields differ, and where the alias does not think."""
    options = wire.reasoning or ReasoningOptions()
    said_effort = _agreed(
        _Said("reasoning_effort", effort), _Said("reasoning.effort", options.effort)
    )
    is_on = _agreed(*_switched(wire), _of_effort(said_effort))
    if is_on.value is False or is_on.field != said_effort.field:
        _agreed(is_on, _Said("enable_thinking", wire.enable_thinking))
    _check_thinks(spec, is_on)
    own = switches(wire) | _verbosity(wire, spec)
    if is_on.value is True and said_effort.value not in spec.reasoning_efforts:
        own = {**_on_switches(spec), **own}
    chosen = said_effort.value
    if chosen is None and is_on.value is False and "none" in spec.reasoning_efforts:
        chosen = "none"
    asked = _asked_budget(wire, budgets)
    budget = thought_budget(spec, asked.value, asked.field, said_effort.value)
    if spec.reasoning and is_on.value is False and chosen not in spec.reasoning_efforts:
        budget = budget if budget and budget.is_asked else budget_of_tokens(spec, 0, is_asked=True)
    field = said_effort.field if said_effort.value else is_on.field
    return Thinking(template_kwargs(spec, chosen, own, field), budget, is_trace_shown(wire))


def budget_of(budgets: BudgetFields, spec: ModelSpec) -> ThinkingBudget | None:
    """The thinking budget by whichever of its names, or the alias' own. Raises ApiError 400 where
    two differ, above the alias' most, or where it does not think."""
    asked = _named_budget(budgets)
    return thought_budget(spec, asked.value, asked.field, None)


def _asked_budget(wire: AsksOfThinking, budgets: BudgetFields) -> _Said:
    config, options = wire.thinking, wire.reasoning
    tokens = config.budget_tokens if config else None
    if config and config.type == "disabled" and tokens:
        message = "thinking has budget_tokens for a thought that it turns off."
        raise ApiError.invalid(message, "thinking.budget_tokens", tokens, "0, or leave it out")
    most = options.max_tokens if options else None
    more = (_Said("thinking.budget_tokens", tokens), _Said("reasoning.max_tokens", most))
    return _named_budget(budgets, *more)


def _named_budget(budgets: BudgetFields, *more: _Said) -> _Said:
    named = [_Said(name, getattr(budgets, name)) for name in BudgetFields.model_fields]
    return _agreed(*named, *more)


def _switched(wire: AsksOfThinking) -> tuple[_Said, ...]:
    """Each place that turns thinking on or off."""
    kind = wire.thinking.type if wire.thinking else None
    by_type = {"enabled": True, "disabled": False}.get(kind or "")
    enabled = wire.reasoning.enabled if wire.reasoning else None
    return _Said("thinking.type", by_type), _Said("reasoning.enabled", enabled)


def _of_effort(effort: _Said) -> _Said:
    """Only "none" turns it off; what others do is the registry's."""
    return _Said(effort.field, None if effort.value is None else effort.value != "none")


def _check_thinks(spec: ModelSpec, is_on: _Said) -> None:
    if is_on.value is True and spec.reasoning is None and "effort" not in is_on.field:
        message = f"{spec.alias} does not think."
        raise ApiError.invalid(message, is_on.field, True, "nothing: leave it out")


def _on_switches(spec: ModelSpec) -> dict[str, Any]:
    """What turns thinking off, turned round; nothing where it is always on."""
    off = spec.reasoning_efforts.get("none", {})
    return {name: not value for name, value in off.items() if isinstance(value, bool)}


def is_trace_shown(wire: AsksOfThinking) -> bool:
    """Raises ApiError 400 where two fields differ."""
    exclude = wire.reasoning.exclude if wire.reasoning else None
    excluded = _Said("reasoning.exclude", None if exclude is None else not exclude)
    found = _agreed(_Said("include_reasoning", wire.include_reasoning), excluded)
    return found.value is not False


def _verbosity(wire: AsksOfThinking, spec: ModelSpec) -> dict[str, Any]:
    """A switch of the templates that the registry gives it to; for all others medium is what
    happens anyway, and the model would never hear of the rest."""
    field, asked = wire.verbosity_asked
    if asked is None:
        return {}
    if "verbosity" in spec.chat_template_kwargs:
        return {"verbosity": asked}
    if asked == "medium":
        return {}
    message = f"{field} has no effect on {spec.alias}: its chat template does not know it."
    expected = "medium, and the wish in a system message or the instructions"
    raise ApiError.invalid(message, field, asked, expected)


def _agreed(*said: _Said) -> _Said:
    """The first that says something. Raises ApiError 400 where another one differs."""
    given = [each for each in said if each.value is not None]
    for each in given[1:]:
        if each.value != given[0].value:
            message = f"{given[0].field} and {each.field} differ."
            raise ApiError.invalid(message, each.field, each.value, "one of the two")
    return given[0] if given else said[0]
