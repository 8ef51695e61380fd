"""The code's own shape: short files and functions, types everywhere, one name for one thing."""

import ast
import statistics
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT, TESTS

HOUSES = ("server", "engines")
FILE_LINES = 300
MEDIAN_LINES, P90_LINES = 7, 16
WIRE = ("server/api/chat/wire_answers.py", "server/api/responses/wire_answers.py")
"""Their classes have the names a client reads in the document: OpenAI's own."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(house: str) -> Iterator[tuple[str, str]]:
    """The path and text of every file of a house."""
    for path in sorted((ROOT / house).rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text()


def functions(house: str) -> Iterator[tuple[str, Function]]:
    """Every function with its place, decorators left out."""
    for path, text in sources(house):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def untyped(function: Function) -> list[str]:
    """Arguments without a type, and "return" where that has none."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    all_of_them = [*named, *filter(None, (given.vararg, given.kwarg))]
    missing = [a.arg for a in all_of_them if a.annotation is None and a.arg not in ("self", "cls")]
    return missing + ["return"] * (function.returns is None)


@pytest.mark.parametrize("house", HOUSES)
def test_no_file_is_longer_than_one_reads(house: str) -> None:
    long = {path for path, text in sources(house) if len(text.splitlines()) > FILE_LINES}
    assert long == set()


@pytest.mark.parametrize("house", HOUSES)
def test_functions_are_short(house: str) -> None:
    counts = sorted(lines(function) for _, function in functions(house))
    assert statistics.median(counts) <= MEDIAN_LINES
    assert counts[len(counts) * 9 // 10] <= P90_LINES


@pytest.mark.parametrize("house", HOUSES)
def test_every_function_is_typed(house: str) -> None:
    found = {place: missing for place, node in functions(house) if (missing := untyped(node))}
    assert found == {}


@pytest.mark.parametrize("house", HOUSES)
def test_every_package_says_what_it_is_for(house: str) -> None:
    folders = {path.parent for path in (ROOT / house).rglob("*.py")}
    inits = {folder: folder / "__init__.py" for folder in folders}
    silent = [
        str(folder.relative_to(ROOT))
        for folder, init in inits.items()
        if not (init.exists() and ast.get_docstring(ast.parse(init.read_text())))
    ]
    assert silent == []


def test_two_public_classes_never_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for house in HOUSES:
        for path, text in sources(house):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name] += [path] * (path not in WIRE)
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert shared == {}


def test_no_folder_of_tests_hides_the_servers_package() -> None:
    """With tests/ on the path, as other people's pytest puts it, `import server` would find it."""
    assert not (TESTS / "server").exists()


def test_every_file_of_the_tests_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("*.py"))
        if "node_modules" not in path.parts and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
