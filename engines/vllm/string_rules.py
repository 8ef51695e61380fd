"""The nodes of a regular expression -> EBNF for xgrammar of what stands between a JSON string's
quotes: a quote, a backslash and a control character are written as JSON writes them."""

import json
import re._parser as regex_parser  # type: ignore[import-not-found]  # typeshed leaves it out
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from engines.answers.schema.patterns import Nodes, UnreadablePattern

Ranges: TypeAlias = list[tuple[int, int]]
"""Code points, first and last, in order and apart."""

_LAST = 0x10FFFF
_SPACES = " \t\n\v\f\r\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"
_LINE_ENDS = "\n\r\u2028\u2029"
_MOST_ESCAPED = 40
_RAW: Ranges = [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, _LAST)]
"""What JSON may hold as it is; 0x7F it may too, but nobody wants it."""
_CATEGORIES = {
    regex_parser.CATEGORY_DIGIT: ("09",),
    regex_parser.CATEGORY_WORD: ("AZ", "__", "az", "09"),
    regex_parser.CATEGORY_SPACE: (*(each * 2 for each in _SPACES), "\u2000\u200a"),
}
_OPPOSITE = {
    regex_parser.CATEGORY_NOT_DIGIT: regex_parser.CATEGORY_DIGIT,
    regex_parser.CATEGORY_NOT_WORD: regex_parser.CATEGORY_WORD,
    regex_parser.CATEGORY_NOT_SPACE: regex_parser.CATEGORY_SPACE,
}
_REPEATS = (regex_parser.MAX_REPEAT, regex_parser.MIN_REPEAT)
_GROUPS = (regex_parser.SUBPATTERN, regex_parser.BRANCH)


def string_rule(nodes: Nodes) -> str:
    """Raises UnreadablePattern for what a grammar cannot say."""
    return _sequence(nodes, True, True)


def _sequence(nodes: Sequence[Any], opens: bool, closes: bool) -> str:
    """`opens`, `closes`: whether the string begins and ends here, where a pattern that is not
    anchored leaves room for anything."""
    parts = list(nodes)
    begins = opens and parts[:1] == [(regex_parser.AT, regex_parser.AT_BEGINNING)]
    parts = parts[1:] if begins else parts
    ends = closes and parts[-1:] == [(regex_parser.AT, regex_parser.AT_END)]
    parts = parts[:-1] if ends else parts
    first = opens and not begins and bool(parts) and parts[0][0] in _GROUPS
    last = closes and not ends and bool(parts) and parts[-1][0] in _GROUPS
    written = [
        _node(node, first and at == 0, last and at == len(parts) - 1)
        for at, node in enumerate(parts)
    ]
    before = [_ANYTHING] if opens and not begins and not first else []
    after = [_ANYTHING] if closes and not ends and not last else []
    return " ".join([*before, *written, *after]) or '""'


def _node(node: Any, opens: bool, closes: bool) -> str:
    operator, argument = node
    if operator is regex_parser.SUBPATTERN and not argument[1] and not argument[2]:
        return f"({_sequence(argument[3], opens, closes)})"
    if operator is regex_parser.BRANCH:
        return "(" + " | ".join(_sequence(each, opens, closes) for each in argument[1]) + ")"
    if operator in _REPEATS:
        low, high, inner = argument
        most = "" if high is regex_parser.MAXREPEAT else high
        return f"({_sequence(inner, False, False)}){{{low},{most}}}"
    return _characters(_ranges(operator, argument))


def _ranges(operator: Any, argument: Any) -> Ranges:
    match operator:
        case regex_parser.LITERAL:
            return [(argument, argument)]
        case regex_parser.NOT_LITERAL:
            return _without([(argument, argument)])
        case regex_parser.ANY:
            return _without([(ord(each), ord(each)) for each in _LINE_ENDS])
        case regex_parser.IN:
            return _set(argument)
    raise UnreadablePattern(f"{str(operator).lower()} in it is more than a grammar can say")


def _set(members: Sequence[Any]) -> Ranges:
    is_negated = members[0][0] is regex_parser.NEGATE
    ranges = [each for member in members[is_negated:] for each in _member(*member)]
    return _without(ranges) if is_negated else _tidy(ranges)


def _member(operator: Any, argument: Any) -> Ranges:
    if operator is regex_parser.RANGE:
        return [argument]
    if operator is not regex_parser.CATEGORY:
        return _ranges(operator, argument)
    if argument in _OPPOSITE:
        return _without(_category(_OPPOSITE[argument]))
    return _category(argument)


def _category(category: Any) -> Ranges:
    return [(ord(ends[0]), ord(ends[1])) for ends in _CATEGORIES[category]]


def _tidy(ranges: Iterable[tuple[int, int]]) -> Ranges:
    tidy: Ranges = []
    for first, last in sorted(ranges):
        if tidy and first <= tidy[-1][1] + 1:
            tidy[-1] = (tidy[-1][0], max(last, tidy[-1][1]))
        else:
            tidy.append((first, last))
    return tidy


def _without(ranges: Iterable[tuple[int, int]]) -> Ranges:
    left, start = [], 0
    for first, last in _tidy(ranges):
        if start < first:
            left.append((start, first - 1))
        start = last + 1
    return [*left, (start, _LAST)] if start <= _LAST else left


def _characters(ranges: Ranges) -> str:
    """One character of `ranges`. Those that JSON escapes count where there are no others: a class
    beside escapes has no mask made beforehand, and each token of a bounded string then took
    xgrammar 0.3 s."""
    raw = [
        (max(first, low), min(last, high))
        for first, last in ranges
        for low, high in _RAW
        if max(first, low) <= min(last, high)
    ]
    if raw:
        return f"[{''.join(map(_range, raw))}]"
    escaped = [chr(code) for first, last in ranges for code in range(first, min(last, 127) + 1)]
    ways = [_quoted(json.dumps(each)[1:-1]) for each in escaped[:_MOST_ESCAPED]]
    if not ways:
        raise UnreadablePattern("no character fits a part of it")
    return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"


def _range(ends: tuple[int, int]) -> str:
    first, last = map(_letter, ends)
    return first if first == last else f"{first}-{last}"


def _letter(code: int) -> str:
    return chr(code) if chr(code).isascii() and chr(code).isalnum() else f"\\U{code:08x}"


def _quoted(text: str) -> str:
    """Text that is ASCII -> EBNF's string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_ANYTHING = f"({_characters([(0, _LAST)])})*"
