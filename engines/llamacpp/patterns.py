"""Which `pattern`s of a JSON schema llguidance would cut off.

In a JSON string a quote, a backslash and a control character are written in two characters. Where
such a character stands directly before something that is no plain character (a class, a group, a
repeat, the open end), llguidance 1.7 forgets the rest: `^"[a-z]+$` becomes `^"$`.
"""

import re
import re._parser as regex_parser  # type: ignore[import-not-found]  # typeshed leaves it out
from collections.abc import Iterable, Iterator
from typing import Any

_ESCAPED = frozenset({ord('"'), ord("\\"), 127, *range(32)})


def loses_its_rest(pattern: str) -> bool:
    """Also where Python cannot read a pattern that may hold such a character."""
    if not re.search(r'["\x00-\x1f\x7f]|\\[\\"abefnrtvxuc0-7]', pattern):
        return False
    try:
        nodes = list(regex_parser.parse(pattern))
    except (re.error, OverflowError, RecursionError):
        return True
    is_closed = bool(nodes) and str(nodes[-1]) == str((regex_parser.AT, regex_parser.AT_END))
    return _is_cut(nodes, is_closed)


def _is_cut(nodes: Iterable[Any], is_closed: bool) -> bool:
    flat = [node for node in _flat(nodes) if node[0] is not regex_parser.AT]
    run_is_escaped = False
    for operator, argument in flat:
        if operator is regex_parser.LITERAL:
            run_is_escaped = run_is_escaped or argument in _ESCAPED
        elif run_is_escaped or any(_is_cut(inner, True) for inner in _inner(operator, argument)):
            return True
    return run_is_escaped and not is_closed


def _flat(nodes: Iterable[Any]) -> Iterator[Any]:
    """Groups opened: they change nothing of what follows what."""
    for operator, argument in nodes:
        if operator is regex_parser.SUBPATTERN:
            yield from _flat(argument[-1])
        else:
            yield operator, argument


def _inner(operator: Any, argument: Any) -> list[Any]:
    if operator is regex_parser.BRANCH:
        return list(argument[1])
    if operator in (regex_parser.MAX_REPEAT, regex_parser.MIN_REPEAT):
        return [argument[2]]
    return []
