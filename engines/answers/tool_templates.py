"""Chat templates of our own, for models that can call tools but publish a template without them.

vLLM tells such models' users to pass --chat-template with a file of its examples; here the
tool parser's name is enough.
"""

import re
from functools import cache
from pathlib import Path

from engines.answers.tool_prompt import has_calls
from engines.base import GenerateRequest

_FOLDER = Path(__file__).parent / "templates"
_SHOWS_TOOLS = re.compile(r"\btools\b")


def tool_template(request: GenerateRequest, published: object) -> str | None:
    """What replaces the published template for this request; None: nothing does. A request without
    tools, and without calls in its messages, is always rendered as published."""
    if request.tool_parser is None or not (request.tools or has_calls(request.messages or ())):
        return None
    if isinstance(published, str) and _SHOWS_TOOLS.search(published):
        return None
    return _own_template(request.tool_parser)


def has_own_template(parser: str) -> bool:
    """Whether a model with this parser can be shown tools though its template has no place."""
    return _own_template(parser) is not None


@cache
def _own_template(parser: str) -> str | None:
    file = _FOLDER / f"{parser}.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else None
