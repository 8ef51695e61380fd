"""What a model's own tokenizer code takes from transformers, and the one that is here has not. The
code is read, never run."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = "transformers"


def missing_imports(folder: Path) -> list[str]:
    """Names that its modules cannot be imported without; those under a condition, or in a `try`,
    do not count. Imports the library's modules."""
    files = sorted(folder.glob("tokenization_*.py"))
    names = dict.fromkeys(name for file in files for name in _imported(file))
    return [f"{module}.{name}" for module, name in names if not _has(module, name)]


def _imported(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name)"""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            if module.partition(".")[0] == _LIBRARY:
                yield from ((module, alias.name) for alias in node.names)


def _has(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
    except Exception:  # also what it imports may be missing
        return False
    return name == "*" or hasattr(found, name)
