"""A body's query and documents -> pairs of texts, and where each stands in the body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engines.base import TextPair
from server.api.input_places import Place, members_of
from server.api.rerank.wire import RerankRequest, ScoreRequest, TextObject
from server.errors import ApiError, brief

_NAMES: Final = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)
_RIGHT: Final = "text_1 and text_2, queries and documents (or items), or data_1 and data_2"


@dataclass(frozen=True, slots=True)
class AskedPairs:
    """The pairs of one request."""

    pairs: Sequence[TextPair]
    query_field: str
    place: Place
    """Of a pair's document."""


def reranked(wire: RerankRequest) -> AskedPairs:
    """Raises ApiError 400."""
    query = _text(wire.query)
    if not query:
        raise ApiError.invalid("query is empty.", "query", "", "a text of at least 1 character")
    pairs = [
        TextPair(query, _document(index, document, wire.rank_fields))
        for index, document in enumerate(wire.documents)
    ]
    return AskedPairs(pairs, "query", members_of("documents", is_array=True))


def scored(wire: ScoreRequest) -> AskedPairs:
    """Raises ApiError 400."""
    first, second = _names(wire)
    queries, documents = getattr(wire, first), getattr(wire, second)
    asked, answers = _texts(queries), _texts(documents)
    if len(asked) not in (1, len(answers)):
        counts = f"{len(asked)} and {len(answers)}"
        message = f"{first} and {second} have {counts} texts: right is one {first}, or as many."
        raise ApiError.invalid(message, first, len(asked), f"1 or {len(answers)} texts")
    asked = asked * len(answers) if len(asked) == 1 else asked
    if not all(asked):
        message = f"{first} has an empty text."
        raise ApiError.invalid(message, first, "", "texts that are not empty")
    pairs = [TextPair(*each) for each in zip(asked, answers, strict=True)]
    return AskedPairs(pairs, first, members_of(second, is_array=isinstance(documents, list)))


def _names(wire: ScoreRequest) -> tuple[str, str]:
    given = {name for pair in _NAMES for name in pair if getattr(wire, name) is not None}
    for pair in _NAMES:
        if given == set(pair):
            return pair
    provided = ", ".join(sorted(given)) or "nothing"
    field = min(given, default="text_1")
    raise ApiError.invalid(
        f"Exactly {_RIGHT} are needed; given are {provided}.", field, provided, _RIGHT
    )


def _texts(given: Any) -> list[str]:
    return [_text(each) for each in (given if isinstance(given, list) else [given])]


def _text(given: str | TextObject) -> str:
    return given if isinstance(given, str) else given.text


def _document(index: int, given: str | Mapping[str, Any], fields: Sequence[str] | None) -> str:
    if isinstance(given, str):
        return given
    if fields is None or list(fields) == ["text"]:
        return _member(index, given, "text")
    once = [name for name in dict.fromkeys(fields) if name in given]
    found = [f"{name}: {_member(index, given, name)}" for name in once]
    if not found:
        expected = f"an object with {brief(', '.join(fields))}"
        message = f"documents[{index}] has none of rank_fields; expected {expected}."
        raise ApiError.invalid(message, f"documents[{index}]", brief(sorted(given)), expected)
    return "\n".join(found)


def _member(index: int, given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if isinstance(value, str):
        return value
    field = f"documents[{index}].{brief(name)}"
    message = f"{field} is no text; expected a string."
    raise ApiError.invalid(message, field, brief(value), "a string")
