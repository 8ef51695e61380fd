"""What a model or a server says, as a terminal may show it."""

_SHOWN = "\n\t"
_CONTROLS: dict[int, str | None] = {
    code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in _SHOWN
}
_CONTROLS[ord("\r")] = None


def for_terminal(text: str) -> str:
    """Without control characters: an answer that somebody talked the model into must not clear the
    screen, name the window, or write into the clipboard."""
    return text.translate(_CONTROLS)
