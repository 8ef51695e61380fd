"""Of vLLM's warnings, each is shown once a process. vLLM makes this by name (logging's
configuration), in every process of an engine: it imports nothing."""

import logging


class FirstWarnings(logging.Filter):
    """Lets errors through, and a warning the first time that it comes from its logger."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        key = (record.name, str(record.msg))
        is_new = key not in self._shown
        self._shown.add(key)
        return is_new
