"""The tools of a response: what the model is offered, under which name, and what is left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from engines.base import Tool
from server.api.chat.messages import missing
from server.api.chat.request import function_tool
from server.api.chat.wire_values import MAX_TOOLS
from server.api.responses.wire import FlatTool
from server.errors import ApiError

_INPUT = "The tool's input, as free text."


class Offer(NamedTuple):
    """One function or custom tool that the client runs."""

    tool: Tool
    """As the model sees it: a custom tool is a function of one text, `input`."""
    name: str
    namespace: str | None
    is_custom: bool


class OfferedTools(NamedTuple):
    """All of a request's tools."""

    offers: Mapping[str, Offer]
    """By the name that the model knows it under."""
    told: Sequence[FlatTool]
    """Those of the request that are offered, as they came."""
    left_out: Sequence[str]
    """Types of tools that a server would run itself: this one runs none."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        return tuple(offer.tool for offer in self.offers.values())

    def known_as(self, name: str) -> str:
        """The model's name of a tool that a client names."""
        own = (known for known, offer in self.offers.items() if offer.name == name)
        return name if name in self.offers else next(own, name)


def offered(tools: Sequence[FlatTool]) -> OfferedTools:
    """Raises ApiError 400 for a tool without its name, and for too many of them."""
    offers: dict[str, Offer] = {}
    told, left_out = [], []
    for i, tool in enumerate(tools):
        own = list(_offers(f"tools[{i}]", tool))
        offers |= {offer.tool.name: offer for offer in own}
        if own:
            told.append(tool)
        else:
            left_out.append(tool.type)
        _check_count(len(offers))
    return OfferedTools(offers, told, left_out)


def name_in(namespace: str | None, name: str) -> str:
    """What the model knows a tool as: names are unique in their namespace alone."""
    return f"{namespace}__{name}" if namespace else name


def _offers(field: str, tool: FlatTool) -> Iterator[Offer]:
    if tool.type != "namespace":
        yield from _offer(field, tool, None)
        return
    if tool.name is None:
        raise missing(f"{field}.name", "the namespace's name")
    for k, inner in enumerate(tool.tools or ()):
        yield from _offer(f"{field}.tools[{k}]", inner, tool.name)


def _offer(field: str, tool: FlatTool, namespace: str | None) -> Iterator[Offer]:
    if tool.type not in ("function", "custom"):
        return
    if tool.name is None:
        raise missing(f"{field}.name", f"the {tool.type} tool's name")
    known = name_in(namespace, tool.name)
    is_custom = tool.type == "custom"
    made = _custom_tool(known, tool) if is_custom else function_tool(known, tool)
    yield Offer(made, tool.name, namespace, is_custom)


def _custom_tool(name: str, tool: FlatTool) -> Tool:
    form = tool.format or {}
    definition = form.get("definition")
    words = _INPUT
    if isinstance(definition, str):
        words = f"The tool's input, in this {form.get('syntax')} grammar:\n{definition}"
    text = {"type": "string", "description": words}
    parameters = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    return Tool(name=name, description=tool.description, parameters=parameters)


def _check_count(count: int) -> None:
    if count > MAX_TOOLS:
        limit = f"at most {MAX_TOOLS}"
        raise ApiError.invalid(f"tools holds {limit}.", "tools", count, limit)
