"""Structure -> a grammar in llguidance's language, checked before llama.cpp sees it."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from engines.answers.forced_calls import forced_schema, is_forced
from engines.answers.form_bounds import check_form
from engines.answers.json_schema import each_place, with_each
from engines.answers.schema.keywords import REFUSED, check_refused
from engines.base import GenerateRequest, InvalidRequest, Reasoning, Structure
from engines.llamacpp.llguidance import Complaint, knows_format
from engines.llamacpp.patterns import loses_its_rest

HEADER = "%llguidance {}\n"
ANY_OBJECT = {"type": "object"}
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
UNENFORCED = REFUSED | {"propertyNames", "unevaluatedItems", "unevaluatedProperties"}
MOST_COMPILE_S = 2.0
"""llama.cpp compiles a grammar between two tokens of all streams: one that takes longer here, in a
thread, is not given to it. The bounds of engines/answers/form_bounds.py keep it far below."""
MOST_SPECIAL_TOKENS = 64
"""Of those a client's grammar names, so many are looked up."""


class GrammarMaker:
    """Makes the grammars of one engine. `complaint` asks the library that will run them,
    `is_special` whether a text is one of the model's special tokens."""

    def __init__(self, complaint: Complaint, is_special: Callable[[str], bool]) -> None:
        self._complaint = complaint
        self._is_special = is_special

    def of_request(self, request: GenerateRequest) -> str | None:
        """What holds the answer to its form, where it has one. Raises InvalidRequest."""
        if is_forced(request):
            forced = Structure(kind="json_schema", value=forced_schema(request))
            return self.of(forced, request.reasoning, "tools")
        if request.structure is None:
            return None
        return self.of(request.structure, request.reasoning, FIELDS[request.structure.kind])

    def of(self, structure: Structure, reasoning: Reasoning | None, field: str) -> str:
        """`field` is named where it cannot be compiled, or not soon enough."""
        check_form(structure, field)
        try:
            rules = self._rules(structure, field)
        except RecursionError:
            raise InvalidRequest(f"{field} is nested too deeply.", field) from None
        if reasoning is not None and not _spells_thinking(structure, reasoning):
            rules = after_thinking(rules, reasoning)
        grammar = HEADER + rules
        began = time.monotonic()
        if complaint := self._complaint(grammar, self._special_tokens(structure)):
            raise InvalidRequest(f"{field} cannot be compiled: {_reason(complaint)}", field)
        if time.monotonic() - began > MOST_COMPILE_S:
            raise InvalidRequest(
                f"{field} takes longer than {MOST_COMPILE_S:g} s to compile.", field
            )
        return grammar

    def _rules(self, structure: Structure, field: str) -> str:
        match structure.kind:
            case "json_object":
                return _json(ANY_OBJECT)
            case "json_schema":
                return _json(self._enforced(structure.value, field))
            case "regex":
                return _regex(structure.value)
            case "choice":
                return _choice(structure.value)
            case "grammar":
                return _lark(structure.value)

    def _enforced(self, schema: Any, field: str) -> Any:
        """Keywords that llguidance does not enforce are refused with their path, and a pattern that
        it would cut off. Formats that it does not know are annotations, as JSON schema allows."""

        def enforced(part: dict[str, Any]) -> dict[str, Any]:
            form = part.get("format")
            if isinstance(form, str) and not knows_format(self._complaint, form):
                part = {key: value for key, value in part.items() if key != "format"}
            for pattern in _patterns(part):
                if loses_its_rest(pattern):
                    raise InvalidRequest(
                        f"{field}: llama.cpp's engine cannot hold a string to the pattern "
                        f"{pattern[:200]!r}: a quote, backslash or control character stands "
                        "before a class, group or repeat in it.",
                        field,
                    )
            return part

        for path, part in each_place(schema):
            check_refused(part, path, field, UNENFORCED)
        return with_each(schema, enforced)

    def _special_tokens(self, structure: Structure) -> list[str]:
        if structure.kind != "grammar":
            return []
        names = set(re.findall(r"<[^<>\s]{1,64}>", structure.value)[:MOST_SPECIAL_TOKENS])
        return sorted(filter(self._is_special, names))


def _patterns(schema: dict[str, Any]) -> list[str]:
    patterns = [schema.get("pattern"), *_keys(schema.get("patternProperties"))]
    return [pattern for pattern in patterns if isinstance(pattern, str)]


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else []


def after_thinking(rules: str, reasoning: Reasoning) -> str:
    """The same language behind the thinking: one that the prompt opened, or an optional own one."""
    rules = re.sub(r"^start:", "answer_start:", rules, flags=re.MULTILINE)
    end = json.dumps(reasoning.end, ensure_ascii=False)
    start = re.escape(reasoning.start).replace("/", r"\/")
    is_open = reasoning.opened_by == "template"
    head = "thinking" if is_open else "(thinking)?"
    body = r"(.|\n)*" if is_open else rf"{start}(.|\n)*"
    return (
        f"start: {head} GAP answer_start\n"
        "GAP: /[\\n]{0,2}/\n"
        f"thinking[suffix={end}]: /{body}/\n{rules}"
    )


def _reason(complaint: str) -> str:
    """Its first line without the position in a text that the client never wrote."""
    lines = complaint.strip().splitlines()
    kept = [line for line in lines if not re.match(r"\s*(\d+ \||\^)", line)]
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(kept)).strip()


def _json(schema: Any) -> str:
    """Without free white space: a small model writes spaces until its tokens are used up."""
    if isinstance(schema, dict):
        schema = schema | {"x-guidance": JSON_STYLE}
    return f"start: %json {json.dumps(schema)}\n"


def _regex(pattern: str) -> str:
    """Anchored at both ends, as vLLM's backends have it."""
    body = pattern.removeprefix("^")
    if body.endswith("$") and not body.endswith(r"\$"):
        body = body[:-1]
    return f"start: /{_slashes(body)}/\n"


def _slashes(pattern: str) -> str:
    """A bare slash would end the regex literal; so would a line break."""
    escaped = re.sub(r"(\\.)|/", lambda m: m[1] or r"\/", pattern, flags=re.DOTALL)
    return escaped.replace("\n", r"\n")


def _choice(choices: list[str]) -> str:
    return "start: " + " | ".join(json.dumps(c, ensure_ascii=False) for c in choices) + "\n"


def _lark(grammar: str) -> str:
    return _from_gbnf(grammar) if "::=" in grammar else grammar.removeprefix(HEADER)


def _from_gbnf(grammar: str) -> str:
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return str(any_to_lark(grammar)).removeprefix(HEADER)
    except Exception as error:  # it raises plain Exception
        raise InvalidRequest(f"grammar cannot be compiled: {error}", FIELDS["grammar"]) from error


def _spells_thinking(structure: Structure, reasoning: Reasoning) -> bool:
    """A regex that writes the start tag itself describes the thinking too."""
    return structure.kind == "regex" and structure.value.lstrip("^(").startswith(reasoning.start)


FIELDS = {
    "json_object": "response_format",
    "json_schema": "response_format",
    "regex": "structured_outputs",
    "choice": "structured_outputs",
    "grammar": "structured_outputs",
}
