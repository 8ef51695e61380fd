"""A model's chat template, tried in a process of its own: a template is a program, and one that
never ends or takes all memory must stop nobody."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.answers.model_tools import ModelTools
from engines.answers.openai_tools import openai_tool
from engines.answers.tool_templates import tool_template
from engines.base import FOUND, GenerateRequest, InvalidRequest, Sampling
from engines.checking.chats import PARTS, PLAIN, WITH_TOOLS, TriedChat
from engines.checking.findings import bounded
from engines.checking.model_files import ModelFiles
from engines.host.child_job import ChildJobFailed, run_child_job

LONGEST_S = 20.0
"""For all chats of one model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What came of one chat: a prompt, or the template's own complaint."""

    text: str = ""
    error: str | None = None
    is_moved: bool = False
    """Its system messages had to be put first."""
    is_in_parts: bool = False
    """Its texts had to become parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTrial:
    """By the chats' ids. `broken`: why none could be rendered."""

    rendered: Mapping[str, Rendered]
    broken: str | None = None

    @property
    def reads_parts_alone(self) -> bool:
        """Its template shows no content that is a text: each became a part."""
        return any(each.is_in_parts for each in self.rendered.values())

    def text(self, chat: TriedChat) -> str | None:
        found = self.rendered.get(chat.id)
        return None if found is None or found.error is not None else found.text


def try_template(
    files: ModelFiles,
    tools: ModelTools,
    switches: Mapping[str, Any],
    parser: str | None = FOUND,
    longest_s: float = LONGEST_S,
) -> TemplateTrial:
    """Every chat through the template that the engine would take. `switches`: the alias'
    chat_template_kwargs; `parser`: its call_parser. Blocks, for at most `longest_s`."""
    if files.template_for(False) is None:
        return TemplateTrial(rendered={}, broken="there is no chat template")
    asked = [
        _asked(chat, files, tools, parser)
        for chat in (*PLAIN, PARTS, *(WITH_TOOLS if parser else ()))
    ]
    job = {"special_tokens": files.special_tokens, "switches": switches}
    return _tried({**job, "chats": asked}, longest_s)


def _asked(
    chat: TriedChat, files: ModelFiles, tools: ModelTools, parser: str | None
) -> Mapping[str, Any]:
    """As an engine prepares a request (engines/vllm/render.py, engines/llamacpp/engine.py)."""
    request = tools.with_parser(
        GenerateRequest(
            request_id=chat.id,
            sampling=Sampling(max_tokens=1),
            messages=chat.messages,
            tools=chat.tools,
            tool_parser=parser,
        )
    )
    shown = tools.shown(request)
    own = tool_template(request, files.template) if files.kind == "folder" else None
    return {
        "id": chat.id,
        "name": chat.name,
        "messages": list(chat.messages if chat is PARTS else tools.messages(request)),
        "tools": [openai_tool(tool)["function"] for tool in shown],
        "end": chat.end,
        "template": own or files.template_for(bool(shown)) or "",
    }


def _tried(job: Mapping[str, Any], longest_s: float) -> TemplateTrial:
    began, at = time.monotonic(), ["the template"]

    def in_time(what: str, done: int | None, total: int | None) -> None:
        at[0] = what
        if time.monotonic() - began > longest_s:
            raise TimeoutError

    with tempfile.TemporaryDirectory(prefix="fjord-check-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job), "utf-8")
        try:
            told = json.loads(_run(path, in_time))
        except TimeoutError:
            return TemplateTrial(rendered={}, broken=f"{at[0]}: no end within {longest_s:g} s")
        except (ChildJobFailed, ValueError) as error:
            return TemplateTrial(rendered={}, broken=f"{at[0]}: {bounded(error)}")
    return TemplateTrial(rendered={name: Rendered(**each) for name, each in told.items()})


def _run(path: Path, progress: Any) -> str:
    return run_child_job("engines.checking.template_child", [str(path)], progress, os.environ)


def complaint(error: InvalidRequest) -> str:
    """The template's own words, without ours."""
    return bounded(error.__cause__ or error)
