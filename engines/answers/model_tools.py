"""How one model is asked for tool calls, and which parser reads them: known once it is loaded."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from engines.answers.call_ids import with_known_ids
from engines.answers.guided_calls import TRIGGER
from engines.answers.tool_parsers import HasToken, found_parser, template_text
from engines.answers.tool_prompt import calls_in_words, has_calls, instructed, tools_in_words
from engines.base import FOUND, GenerateRequest, Tool

ASKED = "hermes"
"""The form in which calls are asked for where the template has none."""
_SHOWS_CALLS = re.compile(r"\btool_calls\b")

_SYSTEM_IS_RAISED = re.compile(r"raise_exception\([^)]*[Ss]ystem")


class ModelTools:
    """One model's. Nothing in it changes; threads share it."""

    def __init__(
        self,
        published: object,
        has_token: HasToken,
        readable: Container[str] | None = None,
        hidden: Container[str] = (),
    ) -> None:
        """`published`: the tokenizer's chat template. `readable`: the parsers that the engine has;
        None: all. `hidden`: tokens that no grammar can write as text."""
        self._can_guide = TRIGGER not in hidden
        self._template = template_text(published)
        self._shows_calls = bool(_SHOWS_CALLS.search(self._template or ""))
        self._native = found_parser(self._template, has_token)
        is_read = self._native is not None and (readable is None or self._native in readable)
        self.parser = self._native if is_read and self._native else ASKED

    def with_parser(self, request: GenerateRequest) -> GenerateRequest:
        """The request with the parser that was found, where it asks for that."""
        return (
            replace(request, tool_parser=self.parser) if request.tool_parser == FOUND else request
        )

    def are_asked_for(self, request: GenerateRequest) -> bool:
        """Whether the request's tools are shown in words of ours."""
        is_ours = request.tool_parser == ASKED and self._native != ASKED
        return is_ours and self._template is not None and bool(request.tools)

    def guides(self, request: GenerateRequest) -> bool:
        """Whether a call that the model begins by itself is held to its form: where it was taught
        that form by our words alone, or where a tool is `strict`."""
        if request.tool_parser != ASKED or request.tool_choice != "auto" or request.structure:
            return False
        is_wanted = self.are_asked_for(request) or any(tool.strict for tool in request.tools)
        return is_wanted and self._can_guide

    def shown(self, request: GenerateRequest) -> Sequence[Tool]:
        """The tools that the template itself shows."""
        if request.tool_parser is None or request.tool_choice == "none":
            return ()
        return () if self.are_asked_for(request) else request.tools

    def messages(self, request: GenerateRequest) -> Sequence[Mapping[str, Any]]:
        """What the template renders. Raises InvalidRequest."""
        messages = request.messages or ()
        if self._template is None or not self._is_worded(request):
            return with_known_ids(messages, (request.tool_parser, self._native))
        messages = calls_in_words(messages) if has_calls(messages) else messages
        if not request.tools or request.tool_choice == "none":
            return messages
        words = tools_in_words(request.tools, request.tool_choice)
        role = "user" if _refuses_system(self._template) else "system"
        return instructed(messages, words, role)

    def _is_worded(self, request: GenerateRequest) -> bool:
        """A template that does not know calls would leave an earlier one out."""
        if request.tools:
            return self.are_asked_for(request)
        return not self._shows_calls


def _refuses_system(template: str) -> bool:
    is_strict = "raise_exception" in template
    return bool(_SYSTEM_IS_RAISED.search(template)) or (is_strict and "system" not in template)
