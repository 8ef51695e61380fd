"""The tools of a response: what the model is offered, under which name, and what is left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from engines.base import Tool
from server.api.chat.messages import missing
from server.api.chat.request import check_names, function_tool
from server.api.chat.wire_values import MAX_TOOLS
from server.api.responses.wire import FlatTool, InputItem, ResponsesRequest
from server.errors import ApiError

CallKind: TypeAlias = Literal["function_call", "custom_tool_call", "tool_search_call"]
SEARCH = "tool_search"
"""The type of a tool that finds tools, and the model's name for it."""

_INPUT = "The tool's input, as free text."


class Offer(NamedTuple):
    """One tool that the client runs."""

    tool: Tool
    """As the model sees it: a custom tool is a function of one text, `input`."""
    name: str
    namespace: str | None
    kind: CallKind
    """The item that is a call of it."""


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


def offered(wire: ResponsesRequest) -> OfferedTools:
    """The tools of `tools`, and those that stand in the conversation, where one that comes again
    takes the earlier one's place. Raises ApiError 400 for a tool without its name, for two of one
    name in `tools`, and for too many of them."""
    named: list[str] = []
    offers: dict[str, Offer] = {}
    told: list[FlatTool] = []
    left_out: list[str] = []
    for field, tool in _given(wire):
        own = list(_offers(field, tool))
        offers |= {offer.tool.name: offer for offer in own}
        if field.startswith("tools["):
            named += [offer.tool.name for offer in own]
        if own:
            told.append(tool)
        elif tool.type not in left_out:
            left_out.append(tool.type)
        _check_count(len(offers))
    check_names(named)
    return OfferedTools(offers, told, left_out)


def name_in(namespace: str | None, name: str) -> str:
    """What the model knows a tool as: names are unique in their namespace alone."""
    return f"{namespace}__{name}" if namespace else name


def found_names(item: InputItem) -> list[str]:
    """What the model knows the tools of an item as."""
    return [
        offer.tool.name for tool in item.tools or () for offer in _offers("input[].tools[]", tool)
    ]


def _given(wire: ResponsesRequest) -> Iterator[tuple[str, FlatTool]]:
    """Each with the name of its field."""
    for i, tool in enumerate(wire.tools or ()):
        yield f"tools[{i}]", tool
    for item in wire.recalled.items if wire.recalled else ():
        for k, tool in enumerate(item.tools or ()):
            yield f"earlier[].tools[{k}]", tool
    for i, item in enumerate(wire.given if not isinstance(wire.given, str) else ()):
        for k, tool in enumerate(item.tools or ()):
            yield f"input[{i}].tools[{k}]", tool


def _offers(field: str, tool: FlatTool) -> Iterator[Offer]:
    if tool.type != "namespace":
        yield from _offer(field, tool, None)
        return
    if tool.name is None:
        raise missing(f"{field}.name", "the namespace's name")
    for k, inner in enumerate(tool.tools or ()):
        yield from _offer(f"{field}.tools[{k}]", inner, tool.name)


def _offer(field: str, tool: FlatTool, namespace: str | None) -> Iterator[Offer]:
    if tool.type == SEARCH and tool.execution == "client":
        yield Offer(function_tool(SEARCH, tool), SEARCH, namespace, "tool_search_call")
    if tool.type not in ("function", "custom"):
        return
    if tool.name is None:
        raise missing(f"{field}.name", f"the {tool.type} tool's name")
    known = name_in(namespace, tool.name)
    if tool.type == "custom":
        yield Offer(_custom_tool(known, tool), tool.name, namespace, "custom_tool_call")
    else:
        yield Offer(function_tool(known, tool), tool.name, namespace, "function_call")


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
