"""A JSON schema -> the EBNF that xgrammar makes of it, with strings of our own.

xgrammar's own strings with a length may hold control characters, and its patterns write quotes and
backslashes as they are: no parser reads either. So each such string goes to it as a mark, and the
mark in its grammar becomes a rule of `string_rules`. So does a value of an enum with a number that
xgrammar would write otherwise: 0.1 as 0.10000000000000001, which is another number.
"""

import json
import re
from functools import lru_cache
from typing import Any

from engines.answers.schema.keywords import unenforceable
from engines.answers.schema.parts import KEYS, PATH, TEXT
from engines.answers.schema.patterns import UnreadablePattern
from engines.answers.schema.plain import plain_schema
from engines.base import InvalidRequest
from engines.vllm.errors import message_of
from engines.vllm.string_rules import string_rule

_SEPARATORS = (",", ":")
_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 16_384
_INT64 = 2**63 - 1


class JsonGrammars:
    """Those of one engine; the latest are remembered, since clients send one schema often."""

    def __init__(self) -> None:
        self._remembered = lru_cache(_MOST_REMEMBERED)(_grammar_of_text)

    def __call__(self, schema: Any, field: str) -> str:
        """As `json_grammar`."""
        try:
            text = json.dumps(schema)
        except RecursionError:
            raise InvalidRequest(f"{field} is nested too deeply.", field) from None
        if len(text) > _LONGEST_REMEMBERED:
            return json_grammar(schema, field)
        return self._remembered(text, field)


def _grammar_of_text(schema: str, field: str) -> str:
    return json_grammar(json.loads(schema), field)


def json_grammar(schema: Any, field: str) -> str:
    """Blocks while it is made. `field` is named where the schema is refused. Raises
    InvalidRequest."""
    plain = plain_schema(schema, field)
    marks = _Marks(plain, field)
    text = _xgrammars(_marked(plain, marks), field)
    return marks.replaced(text) + "".join(f"{rule}\n" for rule in marks.rules)


def _xgrammars(schema: Any, field: str) -> str:
    from xgrammar import Grammar

    text = json.dumps(schema)
    try:
        return str(Grammar.from_json_schema(text, any_whitespace=False, separators=_SEPARATORS))
    except (RuntimeError, ValueError) as error:
        raise InvalidRequest(f"{field} cannot be compiled: {message_of(error)}", field) from error


class _Marks:
    """Marks that stand nowhere else in a schema, and the rules that they stand for."""

    def __init__(self, schema: Any, field: str) -> None:
        self._numbers: dict[str, int] = {}
        self._field = field
        text, self._mark = json.dumps(schema, default=str), "mark"
        while self._mark in text:
            self._mark += "s"

    def mark(self, string: dict[str, Any]) -> str:
        try:
            rule = string_rule(string[TEXT])
        except UnreadablePattern as error:
            raise unenforceable(string[PATH], self._field, str(error)) from None
        number = self._numbers.setdefault(rule, len(self._numbers))
        return f"@{self._mark}{number}@"

    def value_mark(self, value: Any) -> str:
        """Of one JSON value as it is."""
        text = json.dumps(value, ensure_ascii=False, separators=_SEPARATORS)
        rule = json.dumps(text, ensure_ascii=False)
        number = self._numbers.setdefault(rule, len(self._numbers))
        return f"@{self._mark}{number}@@"

    @property
    def rules(self) -> list[str]:
        return [f"fjord_{number} ::= {rule}" for rule, number in self._numbers.items()]

    def replaced(self, grammar: str) -> str:
        """The grammar with its rule for each mark: a string's value, or a property's name."""
        mark = rf"@{self._mark}(\d+)@"
        grammar = re.sub(rf'"\\"{mark}@\\""', r"fjord_\1", grammar)
        grammar = re.sub(rf'"\\"{mark}\\""', r'"\\"" fjord_\1 "\\""', grammar)
        return re.sub(rf'Regex\("{mark}", json_string=true\)|"{mark}"', _rule_name, grammar)


def _rule_name(place: re.Match[str]) -> str:
    return f"fjord_{place[1] or place[2]}"


def _marked(schema: Any, marks: _Marks) -> Any:
    """The plain schema with a mark for each string that has a rule, by `marks`."""
    if isinstance(schema, list):
        return [_marked(each, marks) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "enum" in schema:
        return _marked_enum(schema["enum"], marks)
    if TEXT in schema:
        return {"const": marks.mark(schema)}
    marked = {key: _marked_value(key, value, marks) for key, value in schema.items()}
    if (keys := marked.pop(KEYS, None)) is not None:
        names = marks.mark(keys["names"])
        values = _marked(keys["values"], marks)
        marked |= {"patternProperties": {names: values}, "additionalProperties": False}
    return marked


def _marked_enum(values: list[Any], marks: _Marks) -> Any:
    marked = [{"const": marks.value_mark(value)} for value in values if _is_rounded(value)]
    others = [value for value in values if not _is_rounded(value)]
    if not marked:
        return {"enum": values}
    return {"anyOf": [*([{"enum": others}] if others else ()), *marked]}


def _is_rounded(value: Any) -> bool:
    """Whether it holds a number that xgrammar would write with 17 digits."""
    match value:
        case dict():
            return any(map(_is_rounded, value.values()))
        case list():
            return any(map(_is_rounded, value))
        case int():
            return abs(value) > _INT64
    return isinstance(value, float)


def _marked_value(key: str, value: Any, marks: _Marks) -> Any:
    match key:
        case "properties" | "$defs":
            return {name: _marked(each, marks) for name, each in value.items()}
        case "items" | "additionalProperties" | "prefixItems" | "anyOf":
            return _marked(value, marks)
    return value
