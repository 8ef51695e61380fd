"""How a model was planned onto this machine's cards at the server's start."""

from collections.abc import Iterable

from pydantic import BaseModel, Field

from engines.planning.plan import FleetPlan, Placed, Verdict


class ModelPlan(BaseModel):
    """Of the engine behind an alias; of replicas, the first. Bytes are those of one of its
    cards."""

    verdict: Verdict = Field(description="unknown: its weights have not been seen yet")
    refusal: str | None = Field(description="Why it never fits")
    would_fit: list[str] = Field(description="What would make it fit")
    turn: int | None = Field(description="From 1; engines of another turn are not there at once")
    turns: int
    together_with: list[str] = Field(description="The other models of its turn")
    cards: list[int]
    cards_each: int = Field(description="Cards of one engine; 0: the machine's own memory")
    streams_at_full_context: int
    weights_bytes: int | None
    reserve_bytes: int | None = Field(description="Activations, CUDA graphs, libraries")
    kv_bytes: int | None = Field(description="Its KV cache")
    kv_bytes_per_token: int | None = Field(description="On all of its cards together")
    is_measured: bool = Field(description="By an earlier start on such cards, not estimated")


def model_plan(plan: FleetPlan, alias: str, known: Iterable[str]) -> ModelPlan | None:
    """`known`: the aliases that may be named. None: nothing was known of it then."""
    found = next((each for each in plan.engines if alias in each.asked.aliases), None)
    if found is None or found.fit is None:
        return None
    need = found.fit.need
    return ModelPlan(
        verdict=found.verdict,
        refusal=found.fit.refusal,
        would_fit=[remedy.text for remedy in found.remedies],
        turn=found.turn or None,
        turns=plan.turns,
        together_with=_beside(plan, found, set(known)),
        cards=list(found.cards),
        cards_each=found.fit.demand.world,
        streams_at_full_context=found.streams,
        weights_bytes=need.weights_bytes,
        reserve_bytes=need.reserve_bytes,
        kv_bytes=found.kv_bytes or None,
        kv_bytes_per_token=need.model_token_bytes,
        is_measured=need.is_measured,
    )


def _beside(plan: FleetPlan, own: Placed, known: set[str]) -> list[str]:
    if not own.turn:
        return []
    engines = [each for each in plan.of_turn(own.turn) if each.asked.aliases != own.asked.aliases]
    names = [alias for each in engines for alias in each.asked.aliases if alias in known]
    return list(dict.fromkeys(names))
