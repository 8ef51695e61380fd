"""The OpenAPI document: FastAPI's, and the little that FastAPI cannot know."""

from collections.abc import Iterable
from typing import Any

from fastapi.openapi.utils import get_fields_from_routes
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema
from starlette.routing import BaseRoute

from server.api.openapi.errors import error_responses
from server.api.openapi.route import REF, DescribedRoute
from server.error_body import Error

VERSION = "1"
"""The contract's, as in its paths."""
DESCRIPTION = """The WAYSCloud LLM API, served by Fjord on your own GPUs.

Every request under `/v1/` carries a key, as `X-API-Key: <key>` (recommended) or as
`Authorization: Bearer <key>`; where both arrive, X-API-Key counts. Every error has one body
(`Error`). A key has 1000 requests a minute, with a burst of 100 more, and 50 at once, unless its
site says otherwise."""


def completed(described: dict[str, Any], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """What FastAPI made of `routes`, with our one error body in place of its own, and the events of
    streams, which it has no response model for."""
    for path in described["paths"].values():
        for operation in path.values():
            _without_its_own(operation["responses"])
    own = {"schemas": _schemas(routes), "responses": error_responses()}
    return described | {"components": described["components"] | own}


def _without_its_own(responses: dict[str, Any]) -> None:
    """FastAPI's 422 is taken out; ours, which it wrote over its own, stays."""
    found = responses.get("422", {})
    if "$ref" in found:
        responses["422"] = {"$ref": found["$ref"]}
    elif "HTTPValidationError" in str(found):
        del responses["422"]


class _Closed(GenerateJsonSchema):
    """Answers are typed dicts, which have the members that they name and no others."""

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return {"additionalProperties": False} | super().typed_dict_schema(schema)


def _schemas(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """As FastAPI makes them, before it passes them through a type that turns every bound into a
    float (2**63 - 1 among them) and drops each `"default": null`; with the models it has no place
    for: the error's, and the events'."""
    described = [r for r in routes if isinstance(r, APIRoute)]
    types: list[tuple[Any, JsonSchemaMode]] = [
        (field.field_info.annotation, field.mode) for field in get_fields_from_routes(described)
    ]
    types += [(Error, "serialization")]
    more = (kind for r in described if isinstance(r, DescribedRoute) for kind in r.types)
    types += [(kind, "serialization") for kind in dict.fromkeys(more) if kind is not None]
    inputs = [(n, mode, TypeAdapter(kind)) for n, (kind, mode) in enumerate(types)]
    schemas: dict[str, Any] = TypeAdapter.json_schemas(
        inputs, ref_template=REF, schema_generator=_Closed
    )[1]["$defs"]
    return schemas
