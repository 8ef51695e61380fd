"""Whether finished answers have the form they were held to: grammars are the engines' work, this
looks at what came of them. Knows no engine."""

from collections.abc import Callable

from engines.answers.forced_calls import is_forced
from engines.answers.schema.holds import ENOUGH_STEPS, TooMuch, holds, parsed
from engines.answers.schema.safe_patterns import may_match
from engines.base import Delta, GenerateRequest, Structure

_FINISHED = ("stop", "tool_calls")


def is_held(request: GenerateRequest) -> bool:
    """Whether its answers can be checked. Not behind a stop string, which may cut a form anywhere,
    nor against a client's own grammar, which only an engine can read."""
    if request.sampling.stop:
        return False
    if is_forced(request):
        return True
    return request.structure is not None and request.structure.kind != "grammar"


def form_name(request: GenerateRequest) -> str:
    """For people: what its answers are held to."""
    if is_forced(request) or request.structure is None:
        return "tool_choice"
    return request.structure.kind


class HeldAnswer:
    """One choice's: feed it each delta once, in order."""

    __slots__ = ("_arguments", "_names", "_request", "_text", "characters")

    def __init__(self, request: GenerateRequest) -> None:
        self._request = request
        self._text: list[str] = []
        self._names: dict[int, str] = {}
        self._arguments: dict[int, list[str]] = {}
        self.characters = 0

    def feed(self, delta: Delta) -> None:
        if delta.text:
            self._text.append(delta.text)
            self.characters += len(delta.text)
        for call in delta.tool_calls:
            if call.name is not None:
                self._names[call.index] = call.name
            self._arguments.setdefault(call.index, []).append(call.arguments)
            self.characters += len(call.arguments)

    def is_kept(self, finish_reason: str | None, most_steps: int = ENOUGH_STEPS) -> bool:
        """Whether it has its form; an answer that did not come to its own end need not. Blocks.
        Raises TooMuch where `most_steps` do not tell."""
        if finish_reason not in _FINISHED:
            return True
        if is_forced(self._request):
            return self._are_calls(most_steps)
        structure = self._request.structure
        if structure is None or self._names:
            return True
        return _has_form("".join(self._text), structure, most_steps)

    def _are_calls(self, most_steps: int) -> bool:
        request = self._request
        schemas = {tool.name: dict(tool.parameters) | {"type": "object"} for tool in request.tools}
        only = request.tool_choice.removeprefix("function:")
        allowed = {only} if only in schemas else schemas.keys()
        if not self._names or not set(self._names.values()) <= set(allowed):
            return False
        if len(self._names) > 1 and not request.parallel_tool_calls:
            return False
        return all(
            _fits("".join(self._arguments[index]), schemas[name], most_steps)
            for index, name in self._names.items()
        )


def _has_form(text: str, structure: Structure, most_steps: int) -> bool:
    match structure.kind:
        case "json_object":
            return _fits(text, {"type": "object"}, most_steps)
        case "json_schema":
            return _fits(text, structure.value, most_steps)
        case "choice":
            return any(text.lstrip("\n") == choice.lstrip("\n") for choice in structure.value)
        case "regex":
            return _either(text, lambda each: may_match(each, f"^(?:{structure.value})$"))
    return True


def _either(text: str, matches: Callable[[str], bool]) -> bool:
    """Up to two newlines may stand between a thought and its answer."""
    return any(matches(text[count:]) for count in range(3) if text[:count].count("\n") == count)


def _fits(text: str, schema: object, most_steps: int) -> bool:
    try:
        value = parsed(text)
    except ValueError:
        return False
    return holds(schema, value, most_steps)


__all__ = ["HeldAnswer", "TooMuch", "form_name", "is_held"]
