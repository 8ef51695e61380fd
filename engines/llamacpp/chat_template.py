"""Render a model's own jinja chat template as transformers' apply_chat_template does."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engines.answers.openai_tools import openai_tool
from engines.answers.strict_templates import first_accepted, leaves_out_later_system
from engines.answers.system_messages import all_first
from engines.answers.tool_history import with_read_arguments
from engines.base import InvalidRequest, PromptEnd, Tool

TAKEN = "messages that the model's chat template takes"
_HERE = "CONTINUE_FINAL_MESSAGE_TAG"


class GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words for training; we keep
    the words."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class ChatTemplate:
    """One compiled template with its model's special tokens."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self._special_tokens = dict(special_tokens)
        self._template = _environment().from_string(source)

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] | None = None,
        end: PromptEnd = "answer",
    ) -> str:
        """As `render`; what the template refuses or leaves out is said as it takes it
        (engines/answers/strict_templates.py)."""
        if self._is_system_first:
            messages = all_first([dict(message) for message in messages]) or messages
        return first_accepted(lambda form: self.render(form, tools, variables, end), messages)

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        copy = _message(message)
        if self.reads_parts_alone and isinstance(copy["content"], str):
            copy["content"] = _as_parts(copy["content"])
        return copy

    @functools.cached_property
    def reads_parts_alone(self) -> bool:
        """As SmolVLM's: of a text it would show nothing."""
        return not self._shows(_HERE) and self._shows(_as_parts(_HERE))

    def _shows(self, content: Any) -> bool:
        said = {"messages": [{"role": "user", "content": content}], **self._special_tokens}
        try:
            return _HERE in self._template.render(said)
        except Exception:
            return False

    @functools.cached_property
    def _is_system_first(self) -> bool:
        return leaves_out_later_system(self.render)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] | None = None,
        end: PromptEnd = "answer",
    ) -> str:
        """The prompt's text. Raises InvalidRequest with the template's own complaint."""
        if end == "inside_message":
            return _continued(self.render(_marked(messages), tools, variables, "message"))
        given = {
            "messages": [self._message(m) for m in messages],
            "tools": [openai_tool(t) for t in tools] or None,
            "documents": None,
            "add_generation_prompt": end == "answer",
            **self._special_tokens,
            **(variables or {}),
        }
        try:
            return self._template.render(given)
        except TemplateError as error:
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {error}", "messages", TAKEN
            ) from error
        except RecursionError:
            raise InvalidRequest(
                "The messages, tools or chat_template_kwargs are nested too deeply.", "messages"
            ) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidRequest(
                f"The model's chat template cannot render these messages: {error}",
                "messages",
                TAKEN,
            ) from error


def _marked(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    *rest, last = messages
    return [*rest, {**last, "content": f"{last.get('content') or ''}{_HERE} "}]


def _continued(text: str) -> str:
    """Up to the mark's last place, as transformers does it: a template that trims messages has
    trimmed the mark's space."""
    before, mark, behind = text.rpartition(_HERE)
    if not mark:
        raise InvalidRequest(
            "The model's chat template does not show the last message as it is: it cannot be "
            "continued.",
            "continue_final_message",
        )
    return before if behind.startswith(" ") else before.rstrip()


def _as_parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Templates want string content, tool arguments as objects, and no empty list of calls."""
    copy = with_read_arguments(message)
    if copy.get("content") is None:
        copy["content"] = ""
    if not copy.get("tool_calls"):
        copy.pop("tool_calls", None)
    return copy


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    functions: dict[str, Callable[[str], str]] = {
        "raise_exception": _raise,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    environment.globals.update(functions)
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML characters; a prompt must not."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: str) -> str:
    raise TemplateError(message)
