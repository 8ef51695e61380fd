"""docs/fields.md, made of the tables in server/api/fields.py and of the wire types.

`python -m tests.support.fields_page` writes it.
"""

import json
from collections.abc import Mapping

from pydantic import BaseModel

from server.api import fields, fields_beside
from server.api.chat.wire import ChatRequest
from server.api.completions import CompletionRequest
from server.api.embeddings import EmbeddingsRequest
from server.api.fields import Refused
from server.api.rerank import fields as rerank_fields
from server.api.rerank.wire import RerankRequest, ScoreRequest
from server.api.responses.wire import ResponsesRequest
from server.api.tokenize import TokenizeRequest
from tests.support.paths import ROOT

PAGE = ROOT / "docs/fields.md"
ENDPOINTS: Mapping[str, tuple[type[BaseModel], Mapping[str, Refused]]] = {
    "/v1/chat/completions": (ChatRequest, fields.CHAT),
    "/v1/completions": (CompletionRequest, fields.COMPLETIONS),
    "/v1/responses": (ResponsesRequest, fields.RESPONSES),
    "/v1/embeddings": (EmbeddingsRequest, fields_beside.EMBEDDINGS),
    "/v1/rerank": (RerankRequest, rerank_fields.RERANK),
    "/v1/score": (ScoreRequest, rerank_fields.SCORE),
    "/v1/tokenize": (TokenizeRequest, fields_beside.TOKENIZE),
}
INSIDE: Mapping[str, Mapping[str, Refused]] = {
    "messages[].": fields.MESSAGE,
    "a response's stream_options.": fields.STREAM_OPTIONS_OF_RESPONSES,
    "structured_outputs.": fields.STRUCTURED_OUTPUTS,
    "a response's reasoning.": fields.REASONING,
    "a chat's reasoning.": fields.CHAT_REASONING,
}
HEAD = """# Fields

What comes of each field that OpenAI's, vLLM's, llama.cpp's, SGLang's and Ollama's requests have,
endpoint by endpoint:

* **honoured**, within [the contract](contract.md#fields-of-a-chat-request)'s ranges;
* **refused**: it would change the answer, or how long a model stays loaded, and is not there, so
  it is a 400 `INVALID_PARAMETER` naming it, unless its value asks for what happens anyway (`null`
  always does; `true` is no `1`);
* **without effect** on any answer.

A field nobody knows is accepted and has no effect. This page is made of `server/api/fields.py`,
`fields_beside.py` and `rerank/fields.py`, and a test holds them together
(`python -m tests.support.fields_page` writes
it)."""


def page() -> str:
    honoured_names = [f"* `{path}`: {_names(honoured(path))}" for path in ENDPOINTS]
    passive = [f"| `{name}` | {why} |" for name, why in sorted(fields.PASSIVE.items())]
    parts = [
        HEAD,
        "\n".join(["## Honoured", *honoured_names]),
        "\n".join(["## Refused", *_table("on", _refused())]),
        "\n".join(["## Refused inside of other fields", *_table("of", _inside())]),
        "\n".join(["## Without effect, everywhere", "| field | why |", "|---|---|", *passive]),
    ]
    return "\n\n".join(parts) + "\n"


def honoured(path: str) -> set[str]:
    """The names that the endpoint's wire type has a place for."""
    model, _ = ENDPOINTS[path]
    return {f.alias or name for name, f in model.model_fields.items()}


def _refused() -> dict[str, list[str]]:
    """What is refused alike, as a row's beginning -> where."""
    rows: dict[str, list[str]] = {}
    for path, (_, known) in ENDPOINTS.items():
        for name in sorted(known.keys() - honoured(path)):
            rows.setdefault(_row(name, known[name]), []).append(path.removeprefix("/v1/"))
    return rows


def _inside() -> dict[str, list[str]]:
    return {_row(n, f): [place] for place, known in INSIDE.items() for n, f in known.items()}


def _row(name: str, field: Refused) -> str:
    neutral = ", ".join(f"`{json.dumps(value)}`" for value in field.neutral)
    return f"| `{name}` | {neutral} | {field.instead} |"


def _table(where: str, rows: Mapping[str, list[str]]) -> list[str]:
    lines = [f"| field | but for | instead | {where} |", "|---|---|---|---|"]
    for row, places in sorted(rows.items()):
        lines.append(f"{row} {', '.join(place.rstrip('.') for place in places)} |")
    return lines


def _names(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


if __name__ == "__main__":
    PAGE.write_text(page())
