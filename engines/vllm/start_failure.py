"""Why an engine did not start, in words: from the exception, or from its processes' own log."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from engines.host.private_folder import PrivateFolder
from engines.vllm.environment import variable_set
from engines.vllm.first_warnings import FirstWarnings

_LAST_LINE = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception)): (.+)$", re.MULTILINE)
_ONLY_POINTS_ELSEWHERE = ("WorkerProc initialization failed", "Engine core initialization failed")


@contextlib.contextmanager
def failure_log(is_local: bool = True, *, shows_warnings: bool = False) -> Iterator[Path]:
    """The engine's processes write their errors here too: vLLM's exception in the front says
    only that one of them failed. vLLM takes a logging configuration from the environment, and
    each worker opens it: not where they may run on other machines. On GPUs its warnings tell of
    kernels that are left out; on a CPU of nothing that an operator can change."""
    with PrivateFolder() as folder:
        log_file, configuration = folder / "errors.log", folder / "logging.json"
        configuration.write_text(json.dumps(_logging(log_file, shows_warnings)))
        with variable_set("VLLM_LOGGING_CONFIG_PATH", str(configuration), is_local):
            yield log_file


def _logging(log_file: Path, shows_warnings: bool) -> dict[str, object]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "filters": {"first": {"()": f"{FirstWarnings.__module__}.{FirstWarnings.__name__}"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "level": "WARNING" if shows_warnings else "ERROR",
                "formatter": "line",
                "filters": ["first"],
            },
            "file": {
                "class": "logging.FileHandler",
                "filename": str(log_file),
                "level": "ERROR",
                # Opened at once: the folder is gone when a running engine first logs an error.
                "delay": False,
            },
        },
        "loggers": {
            "vllm": {"handlers": ["stderr", "file"], "level": "WARNING", "propagate": False}
        },
    }


def why_it_failed(error: BaseException, log_file: Path, path: str) -> str:
    """One line for operators and clients. The type decides what is said about it."""
    text = log_file.read_text("utf-8", errors="replace") if log_file.exists() else ""
    for name, message in _LAST_LINE.findall(text):
        if not message.startswith(_ONLY_POINTS_ELSEWHERE):
            return _in_words(name.rsplit(".", 1)[-1], message, path)
    return _in_words(type(error).__name__, str(error), path)


def _in_words(name: str, message: str, path: str) -> str:
    reason = " ".join(message.split())[:600]
    match name:
        case "OutOfMemoryError" | "MemoryError":
            return f"Out of memory while loading {path}: {reason}"
        case "GatedRepoError":
            return f"{path} is gated: accept its licence on the hub and set HF_TOKEN. {reason}"
        case "RepositoryNotFoundError" | "FileNotFoundError" | "OSError":
            return f"The weights {path} cannot be read: {reason}"
        case "ValidationError" | "ValueError" | "TypeError":
            return f"vLLM refuses {path}: {reason}"
        case _:
            return f"vLLM could not start {path}: {name}: {reason}"
