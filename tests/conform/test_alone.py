"""The conformance kit stands alone: it asks any server, and knows nothing of Fjord."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from server.api.operations import OPERATIONS
from tests.support.paths import ROOT

FILES = sorted((ROOT / "server/conform").glob("*.py"))
PACKAGE = "server.conform"


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path}: relative"
            is_package = node.module == PACKAGE
            yield from (f"{PACKAGE}.{n.name}" for n in node.names) if is_package else [node.module]


def test_it_imports_nothing_of_fjord() -> None:
    assert len(FILES) > 20
    for path in FILES:
        ours = [name for name in imports(path) if name.split(".")[0] in ("server", "engines")]
        assert all(name.startswith(PACKAGE + ".") for name in ours), path.name


def test_no_two_of_its_files_import_each_other() -> None:
    graph = {f"{PACKAGE}.{path.stem}": set(imports(path)) for path in FILES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index(f"{PACKAGE}.target") < order.index(f"{PACKAGE}.check")


PARTS = ("/cancel", "/content", "/batch_nobody", "/input_items", "/items", "/conv_")
"""Of paths with an id in them."""


def test_its_paths_are_those_that_fjord_serves() -> None:
    """It has them a second time because it knows nothing of Fjord."""
    written = {
        node.value
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(r"/[a-z][a-z0-9/._]+", str(node.value))
    }
    served = {path for o in OPERATIONS for path in o.paths if "{" not in path}
    assert written - {"/v1", "/v1/x", "/v1/no/such/path", *PARTS} == served - {"/", "/metrics"} | {
        "/openapi.json"
    }
