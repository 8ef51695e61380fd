"""Where a prompt leaves a thought, for the samplers that end one when its budget is spent. Knows no
engine."""

from collections.abc import Callable, Sequence

from engines.base import GenerateRequest, InvalidRequest, ThinkingBudget

FIELD = "thinking_token_budget"
NONE = "none"


def impossible(budget: ThinkingBudget, why: str) -> InvalidRequest:
    """The budget cannot be kept. One that no request asked for lies with its prompt."""
    if budget.is_asked:
        return InvalidRequest(f"{FIELD} is not possible here: {why}", FIELD, NONE)
    message = f"This model's thoughts are bounded here, and this one could not be: {why}"
    return InvalidRequest(message, "prompt", f"a prompt without {budget.start} of its own")


def mark_ids(budget: ThinkingBudget, token_id: Callable[[str], int | None]) -> tuple[int, int]:
    """The ids of its marks. Raises InvalidRequest where one is no single token: the same letters in
    other tokens would neither begin nor end what is counted."""
    start, end = token_id(budget.start), token_id(budget.end)
    if start is None or end is None:
        mark = budget.start if start is None else budget.end
        message = f"The model's mark {mark} is no single token, so that no budget can be kept."
        raise impossible(budget, message)
    return start, end


def tokens_of_open_thought(prompt_ids: Sequence[int], start_id: int, end_id: int) -> int | None:
    """How many stand behind a start mark that nothing closes; None: there is no such mark."""
    for behind, token_id in enumerate(reversed(prompt_ids)):
        if token_id == end_id:
            return None
        if token_id == start_id:
            return behind
    return None


def is_open(request: GenerateRequest, behind: int | None) -> bool:
    """Whether the answer begins inside of a thought. `behind`: the prompt's open thought, which
    counts where nothing is split: in a chat's prompt a user may have written the mark."""
    if request.reasoning is None:
        return behind is not None
    return request.reasoning.opened_by == "template"
