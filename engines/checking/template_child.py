"""Runs as a process of its own: `python -m engines.checking.template_child JOB.json` -> JSON, by
chat what its template makes of it."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from engines.base import InvalidRequest, Tool
from engines.checking.findings import bounded
from engines.checking.rendering import complaint
from engines.host.child_job import Progress, child_job
from engines.host.confined import bound_memory
from engines.llamacpp.chat_template import ChatTemplate

MOST_BYTES = 2**30
"""Of memory, beyond what the process begins with."""
MOST_CHARACTERS = 200_000
"""Of a prompt that is told: a chat here has a few hundred."""


def tried(args: Sequence[str], progress: Progress) -> str:
    """Each chat alone: one that a template refuses is no other's trouble."""
    job = json.loads(Path(args[0]).read_text("utf-8"))
    told = {}
    for index, chat in enumerate(job["chats"]):
        progress(chat["name"], index, len(job["chats"]))
        told[chat["id"]] = _tried(chat, job["special_tokens"], job["switches"])
    return json.dumps(told)


def _tried(
    chat: Mapping[str, Any], special_tokens: Mapping[str, str], switches: Mapping[str, Any]
) -> Mapping[str, Any]:
    tools = [Tool(**tool) for tool in chat["tools"]]
    try:
        template = ChatTemplate(chat["template"], special_tokens)
        given = (chat["messages"], tools, switches, chat["end"])
        as_it_is = _as_it_is(template, given)
        text = template.prompt(*given) if as_it_is is None else as_it_is
    except InvalidRequest as error:
        return {"error": complaint(error)}
    except TemplateError as error:  # it does not compile
        return {"error": bounded(f"line {getattr(error, 'lineno', '?')}: {error}")}
    except MemoryError:
        return {"error": f"it takes more than {MOST_BYTES // 2**30} GiB of memory"}
    except Exception as error:  # whatever a template's own program runs into
        return {"error": bounded(f"{type(error).__name__}: {error}")}
    return {
        "text": text[:MOST_CHARACTERS],
        "is_moved": as_it_is is None,
        "is_in_parts": template.reads_parts_alone,
    }


def _as_it_is(template: ChatTemplate, given: tuple[Any, ...]) -> str | None:
    """None: only with its system messages put first, if at all."""
    with contextlib.suppress(InvalidRequest):
        return template.render(*given)
    return None


if __name__ == "__main__":
    bound_memory(MOST_BYTES)
    child_job(tried)
