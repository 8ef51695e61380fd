"""What Ray and vLLM raised on other machines, in one line."""

import re

_NOISE = re.compile(r"\x1b\[[0-9;]*m|^\s*(File|\^+|~+)\b.*$", re.MULTILINE)
_LAST = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit)): ?(.*)$", re.MULTILINE)
_MOST = 300


class NodeFailure(Exception):
    """An engine cannot be, or is no more; the message says which node and why."""


def words(error: BaseException) -> str:
    """The innermost exception of a remote traceback."""
    text = _NOISE.sub("", str(error))
    found = _LAST.findall(text)
    name, message = found[-1] if found else (type(error).__name__, text)
    line = " ".join(f"{name.rsplit('.', 1)[-1]}: {message}".split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"
