"""The registry as it runs, and each of its models with lines to try it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from server.console.routes import PageRoute, Visit
from server.console.snippets import Snippet, recording, snippets


async def models(visit: Visit) -> Response:
    registry = await visit.admin.get("/registry")
    operated = (await visit.admin.get("/models"))["models"]
    states = {each["alias"]: each for each in operated}
    known = [each for each in registry["models"] if each["alias"] in states]
    return visit.page("models.html", registry=registry, models=known, states=states)


async def model(visit: Visit) -> Response:
    alias = visit.request.path_params["alias"]
    found = await visit.admin.get(f"/registry/{quote(alias)}")
    api = f"{visit.api.url(visit.request)}/v1"
    entry = found["registered"]
    return visit.page(
        "model.html",
        model=entry,
        operated=found["operated"],
        snippets=tries(api, entry),
        api=api,
        is_told=visit.api.told_url is not None,
        needs_key=visit.api.needs_key,
    )


def tries(api: str, entry: Mapping[str, Any]) -> list[Snippet]:
    """The shortest request that its task has."""
    alias = entry["alias"]
    match entry["task"]:
        case "embed":
            return snippets(api, "/embeddings", {"model": alias, "input": ["A fjord is deep."]})
        case "rerank":
            documents = ["A fjord is an inlet.", "A fell is a hill."]
            body = {"model": alias, "query": "What is a fjord?", "documents": documents}
            return snippets(api, "/rerank", body)
        case "transcribe":
            return recording(api, alias)
    messages = [{"role": "user", "content": "What is a fjord?"}]
    return snippets(api, "/chat/completions", {"model": alias, "messages": messages})


ROUTES = (PageRoute("/models", models), PageRoute("/models/{alias:path}", model))
