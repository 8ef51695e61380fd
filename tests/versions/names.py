"""Looks up the names that the fast path uses in the sources of a vLLM, without importing it."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from engines.vllm.fastpath.private_names import (
    CLASSES,
    IMPORTS,
    SINCE_LATER,
    Owner,
)


def missing_names(site: Path) -> list[str]:
    """What is listed and not defined in the `vllm` of this folder, as module:class.name."""
    sources = Sources(site)
    imports = [
        f"{module}:{name}"
        for module, names in IMPORTS.items()
        for name in names
        if name not in sources.top_level(module)
    ]
    return imports + [name for part in CLASSES for name in _missing(sources, part)]


def _missing(sources: "Sources", part: Mapping[Owner, tuple[str, ...]]) -> Iterator[str]:
    for (module, owner), names in part.items():
        defined = sources.members(module, owner)
        for name in names:
            if name not in defined and name not in SINCE_LATER:
                yield f"{module}:{owner}.{name}"


class Sources:
    """One version's."""

    def __init__(self, site: Path) -> None:
        self._site = site

    @cache  # noqa: B019 - lives as long as the process
    def _tree(self, module: str) -> ast.Module:
        path = self._site / module.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return ast.parse(file.read_text()) if file.exists() else ast.Module([], [])

    def top_level(self, module: str) -> set[str]:
        """Names a module defines or imports."""
        return set(_targets(self._tree(module).body)) | set(self._imported(module))

    def _imported(self, module: str) -> dict[str, str]:
        """Name -> the module it is imported from."""
        return {
            alias.asname or alias.name: node.module
            for node in ast.walk(self._tree(module))
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    def members(self, module: str, owner: str) -> set[str]:
        """What a class defines, with the classes it is made of."""
        for node in self._tree(module).body:
            if isinstance(node, ast.ClassDef) and node.name == owner:
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                inherited = [self.members(module, base) for base in bases]
                return set().union(set(_targets(node.body)), _of_self(node), *inherited)
        origin = self._imported(module).get(owner, "")
        return self.members(origin, owner) if origin.startswith("vllm") else set()


def _targets(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign():
                yield from (t.id for t in node.targets if isinstance(t, ast.Name))
            case _:
                pass


def _of_self(owner: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
