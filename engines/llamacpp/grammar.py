"""Structure -> a grammar in llguidance's language, checked before llama.cpp sees it.

llama.cpp only logs a grammar that llguidance cannot compile, and then generates freely: so every
grammar is compiled here first, by the same library.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from engines.answers.forced_calls import forced_schema, is_forced
from engines.base import GenerateRequest, InvalidRequest, Reasoning, Structure

HEADER = "%llguidance {}\n"
ANY_OBJECT = {"type": "object"}


def grammar_for(request: GenerateRequest) -> str | None:
    """What holds the answer to its form, where it has one. Raises InvalidRequest."""
    if is_forced(request):
        schema = forced_schema(request)
        return grammar_of(Structure(kind="json_schema", value=schema), request.reasoning, "tools")
    if request.structure is None:
        return None
    return grammar_of(request.structure, request.reasoning, FIELDS[request.structure.kind])


def grammar_of(structure: Structure, reasoning: Reasoning | None, field: str) -> str:
    """`field` is named where it cannot be compiled."""
    if structure.kind == "grammar" and "::=" in structure.value:
        rules = _from_gbnf(structure.value)
    else:
        rules = RULES[structure.kind](structure.value)
    if reasoning is not None and not _spells_thinking(structure, reasoning):
        rules = after_thinking(rules, reasoning)
    return checked(HEADER + rules, field)


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


def checked(grammar: str, field: str) -> str:
    """The grammar itself, when it compiles."""
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise InvalidRequest(
            "Structured output needs the package llguidance on this engine; it is not installed.",
            field,
        ) from error
    if complaint := LLMatcher.validate_grammar(grammar):
        reason = _reason(complaint)
        raise InvalidRequest(f"{field} cannot be compiled: {reason}", field)
    return grammar


def _reason(complaint: str) -> str:
    """Its first line without the position in a text that the client never wrote."""
    lines = complaint.strip().splitlines()
    kept = [line for line in lines if not re.match(r"\s*(\d+ \||\^)", line)]
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(kept)).strip()


def _json_schema(schema: Any) -> str:
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
    return grammar.removeprefix(HEADER)


def _from_gbnf(grammar: str) -> str:
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return str(any_to_lark(grammar)).removeprefix(HEADER)
    except Exception as error:  # it raises plain Exception
        raise InvalidRequest(f"grammar cannot be compiled: {error}", FIELDS["grammar"]) from error


def _spells_thinking(structure: Structure, reasoning: Reasoning) -> bool:
    """A regex that writes the start tag itself describes the thinking too."""
    return structure.kind == "regex" and structure.value.lstrip("^(").startswith(reasoning.start)


RULES: dict[str, Callable[[Any], str]] = {
    "json_object": lambda _: _json_schema(ANY_OBJECT),
    "json_schema": _json_schema,
    "regex": _regex,
    "choice": _choice,
    "grammar": _lark,
}
FIELDS = {
    "json_object": "response_format",
    "json_schema": "response_format",
    "regex": "structured_outputs",
    "choice": "structured_outputs",
    "grammar": "structured_outputs",
}
