"""What Ray and vLLM raised on other machines, in one line."""

import re

_NOISE = re.compile(r"\x1b\[[0-9;]*m|^\s*(File|\^+|~+)\b.*$", re.MULTILINE)
_LAST = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit)): ?(.*)$", re.MULTILINE)
_MOST = 300


class NodeFailure(Exception):
    """An engine cannot be, or is no more; the message says which node and why."""


def words(error: BaseException) -> str:
    """The last exception of a remote traceback, to its end."""
    text = _NOISE.sub("", str(error))
    found = list(_LAST.finditer(text))
    name = found[-1][1] if found else type(error).__name__
    message = text[found[-1].start(2) :] if found else text
    line = " ".join(f"{name.rsplit('.', 1)[-1]}: {message}".split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"
