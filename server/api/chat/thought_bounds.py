"""How many tokens a thought may have: what a request asks for, else what its effort has, else the
alias' own, and never more than the alias' most."""

from engines.base import ThinkingBudget
from engines.registry.spec import ModelSpec
from server.errors import ApiError


def thought_budget(
    spec: ModelSpec, asked: int | None, field: str, effort: str | None
) -> ThinkingBudget | None:
    """`asked`, by `field`: -1 is no bound of the request's own. None where nothing bounds it.
    Raises ApiError 400 above the most, or where the alias does not think."""
    own = None if asked is None or asked < 0 else asked
    if spec.reasoning is None:
        if own is not None:
            message = f"{spec.alias} does not think, so there is no thought to bound."
            raise ApiError.invalid(message, field, own, "-1, or leave it out")
        return None
    most = spec.thought_bounds.most
    if own is not None and most is not None and own > most:
        message = f"{field} is {own}; a thought of {spec.alias} has at most {most} tokens."
        raise ApiError.invalid(message, field, own, f"at most {most}")
    if own is not None:
        return budget_of_tokens(spec, own, is_asked=True)
    tokens = _of_alias(spec, effort, is_free=asked is not None)
    return None if tokens is None else budget_of_tokens(spec, tokens, is_asked=False)


def _of_alias(spec: ModelSpec, effort: str | None, is_free: bool) -> int | None:
    """`is_free`: the request wants no bound of its own."""
    bounds = spec.thought_bounds
    tokens = bounds.budgets.get(effort or "", bounds.default)
    return bounds.most if is_free or tokens is None else tokens


def budget_of_tokens(spec: ModelSpec, tokens: int, is_asked: bool) -> ThinkingBudget:
    """Between the alias' marks."""
    marks = spec.reasoning
    assert marks is not None
    return ThinkingBudget(tokens=tokens, start=marks.start, end=marks.end, is_asked=is_asked)
