"""A string's `pattern`, `minLength` and `maxLength` -> the nodes of one regular expression."""

import re
import re._parser as regex_parser  # type: ignore[import-not-found]  # typeshed leaves it out
from typing import Any, TypeAlias

Nodes: TypeAlias = list[Any]
"""(operator, argument) as Python's parser has them."""

_LONGEST = 10_000
_MOST = 4_294_967_294
_REPEATS = (regex_parser.MAX_REPEAT, regex_parser.MIN_REPEAT)


class UnreadablePattern(ValueError):
    """Says why."""


def nodes_of(pattern: str | None, shortest: int, longest: int | None) -> Nodes:
    """Raises UnreadablePattern, also where a length can not be laid over the pattern."""
    if pattern is None:
        most = "" if longest is None else min(longest, _MOST)
        return _parsed(rf"^[\s\S]{{{shortest},{most}}}$")
    nodes = _parsed(pattern)
    return nodes if shortest == 0 and longest is None else _bounded(nodes, shortest, longest)


def _parsed(pattern: str) -> Nodes:
    if len(pattern) > _LONGEST:
        raise UnreadablePattern(f"a pattern has at most {_LONGEST} characters")
    try:
        parsed = regex_parser.parse(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise UnreadablePattern(f"it cannot be read: {error}") from error
    if parsed.state.flags & ~re.UNICODE:
        raise UnreadablePattern("it sets flags")
    return list(parsed)


def _bounded(nodes: Nodes, shortest: int, longest: int | None) -> Nodes:
    """The length over a pattern that is closed at both ends: implied by it, or put into its only
    repeat."""
    most = _MOST if longest is None else longest
    body = nodes[1:-1]
    if _is_at(nodes[:1], regex_parser.AT_BEGINNING) and _is_at(nodes[-1:], regex_parser.AT_END):
        widths = [_width(node) for node in body]
        least, greatest = sum(width[0] for width in widths), sum(width[1] for width in widths)
        if shortest <= least and greatest <= most:
            return nodes
        if len(body) == 1 and (tightened := _tightened(body[0], shortest, most)):
            return [nodes[0], tightened, nodes[-1]]
    raise UnreadablePattern("a length beside a pattern is held only where the pattern implies it")


def _tightened(node: Any, shortest: int, most: int) -> Any:
    operator, argument = node
    if operator not in _REPEATS or [_width(each) for each in argument[2]] != [(1, 1)]:
        return None
    low, high = max(argument[0], shortest), min(argument[1], most)
    return (operator, (low, high, argument[2])) if low <= high else None


def _width(node: Any) -> tuple[int, int]:
    low, high = regex_parser.SubPattern(regex_parser.State(), [node]).getwidth()
    return int(low), int(high)


def _is_at(nodes: Nodes, place: Any) -> bool:
    return nodes == [(regex_parser.AT, place)]
