"""Structure -> a grammar in llguidance's language, checked before llama.cpp sees it."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from engines.answers.closed_schema import are_laid_over, closed, with_closed_branches
from engines.answers.forced_calls import forced_schema, is_forced
from engines.answers.form_bounds import check_form
from engines.answers.guided_calls import CLOSE, OPEN, TRIGGER, enforceable, guided_schema
from engines.answers.json_schema import each_place, with_each
from engines.answers.schema.endless import check_ends
from engines.answers.schema.keywords import REFUSED, check_refused
from engines.answers.schema.plain import ApartOneOfs
from engines.base import GenerateRequest, InvalidRequest, Reasoning, Structure
from engines.llamacpp.llguidance import Complaint, knows_format
from engines.llamacpp.patterns import loses_its_rest

HEADER = "%llguidance {}\n"
ANY_OBJECT = {"type": "object"}
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
UNENFORCED = REFUSED | {"propertyNames", "unevaluatedItems", "unevaluatedProperties"}
_ANY_TOKEN = 0
"""Every vocabulary has it; a complaint does not depend on which token ends an answer."""
MOST_GBNF_RULES = 400
"""The converter's time grows with their square: 400 take 0.4 s of a thread, 2,000 took 11 s."""
MOST_SPECIAL_TOKENS = 64
"""Of those a client's grammar names, so many are looked up."""


class GrammarMaker:
    """Makes the grammars of one engine. `complaint` asks the library that will run them,
    `is_special` whether a text is one of the model's special tokens; `end_id`: the token that ends
    its answers."""

    def __init__(
        self,
        complaint: Complaint,
        is_special: Callable[[str], bool],
        end_id: int | None = None,
    ) -> None:
        self._complaint = complaint
        self._is_special = is_special
        self._end_id = end_id

    def of_request(self, request: GenerateRequest, is_guided: bool = False) -> str | None:
        """What holds the answer to its form, where it has one, or calls to theirs once one
        `is_guided`. Raises InvalidRequest."""
        if is_guided:
            return enforceable(request, self._of_calls)
        if is_forced(request):
            forced = Structure(kind="json_schema", value=forced_schema(request))
            return self.of(forced, request.reasoning, "tools")
        if request.structure is None:
            return None
        return self.of(request.structure, request.reasoning, FIELDS[request.structure.kind])

    def of(self, structure: Structure, reasoning: Reasoning | None, field: str) -> str:
        """`field` is named where it cannot be compiled, or not soon enough."""
        rules = self._checked_rules(structure, field)
        if reasoning is not None and not _spells_thinking(structure, reasoning):
            rules = after_thinking(rules, reasoning)
        return self._compiled(rules, self._special_tokens(structure), field)

    def _of_calls(self, request: GenerateRequest) -> str:
        call = Structure(kind="json_schema", value=guided_schema(request))
        rules = around_calls(self._checked_rules(call, "tools"), request.parallel_tool_calls)
        if request.reasoning is not None:
            rules = after_thinking(rules, request.reasoning)
        return self._compiled(rules, (), "tools")

    def _checked_rules(self, structure: Structure, field: str) -> str:
        check_form(structure, field)
        try:
            return self._rules(structure, field)
        except RecursionError:
            raise InvalidRequest(f"{field} is nested too deeply.", field) from None

    def _compiled(self, rules: str, special_tokens: Sequence[str], field: str) -> str:
        if complaint := self._complaint(HEADER + ended(rules, _ANY_TOKEN), special_tokens):
            raise InvalidRequest(f"{field} cannot be compiled: {_reason(complaint)}", field)
        return HEADER + (rules if self._end_id is None else ended(rules, self._end_id))

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
        it would cut off. Formats that it does not know are annotations, as JSON schema allows.
        Objects have no properties but those they name, as on every engine."""

        one_ofs = _one_ofs(schema, field)

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
            return one_ofs.as_any_of(part)

        for path, part in each_place(schema):
            check_refused(part, path, field, UNENFORCED)
        check_ends(schema, field)
        return with_each(closed(schema), enforced)

    def _special_tokens(self, structure: Structure) -> list[str]:
        if structure.kind != "grammar":
            return []
        names = set(re.findall(r"<[^<>\s]{1,64}>", structure.value)[:MOST_SPECIAL_TOKENS])
        return sorted(filter(self._is_special, names))


def _one_ofs(schema: Any, field: str) -> ApartOneOfs:
    if are_laid_over(schema):
        return ApartOneOfs(schema, field)
    return ApartOneOfs(closed(schema), field, lambda part: with_closed_branches(part, "oneOf"))


def _patterns(schema: dict[str, Any]) -> list[str]:
    patterns = [schema.get("pattern"), *_keys(schema.get("patternProperties"))]
    return [pattern for pattern in patterns if isinstance(pattern, str)]


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else []


def ended(rules: str, token_id: int) -> str:
    """The same language, which that token may end. llama.cpp tells llguidance of one such token
    alone, and for many models (SmolLM2, Qwen) that is not the one they end their answers with:
    what may go on went on to its length."""
    return f"start: answer (<[{token_id}]>)?\nanswer: %lark {{\n{rules}\n}}\n"


def around_calls(rules: str, is_parallel: bool) -> str:
    """Free text with calls in it, each of `rules` between its marks; without `is_parallel` the
    first one ends the answer."""
    open_, close = json.dumps(OPEN.removeprefix(TRIGGER)), json.dumps(CLOSE)
    shape = "(words call)* WORDS" if is_parallel else "words call | WORDS"
    return (
        f"start: {shape}\n"
        f"words[suffix={json.dumps(TRIGGER)}]: /(.|\\n)*/\n"
        f"WORDS: /(.|\\n)*/ & ~/(.|\\n)*{TRIGGER}(.|\\n)*/\n"
        f"call: {open_} one_call {close}\n"
    ) + re.sub(r"^start:", "one_call:", rules, flags=re.MULTILINE)


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

    if (rules := grammar.count("::=")) > MOST_GBNF_RULES:
        field = FIELDS["grammar"]
        message = f"{field} has {rules} rules; at most {MOST_GBNF_RULES} are possible."
        raise InvalidRequest(message, field)
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
