"""Checks: the list of models and one of them."""

from typing import Any

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import MODEL_PATHS, MODELS, Target

MEMBERS = {"id", "object", "owned_by", "created"}


def _listed(t: Target) -> list[Any]:
    found = expect.ok(t.get(MODELS)).get("data")
    expect.that(isinstance(found, list) and len(found) > 0, "data with at least one model", found)
    return list(found)


@documented("models-list")
def the_list(t: Target) -> None:
    """object is list, data the models"""
    expect.equal("object", expect.ok(t.get(MODELS)).get("object"), "list")
    _listed(t)


@documented("models-list")
def members(t: Target) -> None:
    """Every model has id, object model, and owned_by"""
    for model in _listed(t):
        expect.equal("object", model.get("object"), "model")
        for name in ("id", "owned_by"):
            expect.that(bool(isinstance(model.get(name), str) and model[name]), name, model)


@documented("models-owner")
def owner(t: Target) -> None:
    """owned_by is wayscloud"""
    for model in _listed(t):
        expect.equal("owned_by", model.get("owned_by"), "wayscloud")


@declared("models-created")
def created(t: Target) -> None:
    """created is always there, in Unix seconds"""
    for model in _listed(t):
        expect.that(expect.is_count(model.get("created")), "created an integer", model)


@declared("models-members")
def nothing_else(t: Target) -> None:
    """A model has the four documented members and no other"""
    for model in _listed(t):
        expect.that(set(model) <= MEMBERS, f"only {', '.join(sorted(MEMBERS))}", sorted(model))


@declared("models-same")
def two_lists_are_one(t: Target) -> None:
    """/v1/models and /v1/llm/models list the same"""
    other = expect.ok(t.get(MODEL_PATHS[0])).get("data")
    expect.equal("the list", other, _listed(t))


@declared("ep-one-model")
def one_is_as_listed(t: Target) -> None:
    """GET /v1/models/{id} is the list's entry"""
    listed = next((m for m in _listed(t) if m["id"] == t.model), None)
    expect.equal("the model", expect.ok(t.get(f"{MODELS}/{t.model}")), listed)


@declared("error-model")
def one_unknown(t: Target) -> None:
    """GET /v1/models/{unknown}: 404 MODEL_NOT_FOUND"""
    expect.refused(t.get(f"{MODELS}/no-such-model"), 404, "MODEL_NOT_FOUND")
