"""vLLM without one of the names that the fast path uses: the same request, the same answer."""

import ast
import asyncio
import builtins
import importlib
import logging
import sys
from typing import Any

import pytest

from engines.base import Delta
from engines.vllm.fastpath.private_names import (
    CLASSES,
    FRONT,
    IMPORTS,
    Owner,
)
from tests.support.engine_core import engine_over
from tests.support.engine_fixtures import ask, count, ends, text
from tests.support.hidden_names import FAST_PATH, hidden
from tests.support.paths import ROOT

OURS = sorted(path for path in FAST_PATH.glob("*.py") if path.name != "private_names.py")
LISTED = {name for part in CLASSES for some in part.values() for name in some}
HIDDEN = [(owner, name) for owner, names in FRONT.items() for name in names]


def named(value: Any) -> str:
    """A parameter in a test's id."""
    return value if isinstance(value, str) else str(value[-1])


PUBLIC = {"outputs", "text", "token_ids", "DELTA"}
"""Of RequestOutput, CompletionOutput and RequestOutputKind, which vLLM documents."""
ZEROMQ = {"Again", "FD", "NOBLOCK", "Socket", "shadow"}
"""Of pyzmq, which documents them."""


def names_used() -> set[str]:
    """Every attribute that the fast path reads, sets, or asks for by `getattr` and `hasattr`."""
    nodes = [node for path in OURS for node in ast.walk(ast.parse(path.read_text()))]
    calls = [node for node in nodes if isinstance(node, ast.Call) and len(node.args) > 1]
    asked = [
        call.args[1]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr")
    ]
    by_string = {str(each.value) for each in asked if isinstance(each, ast.Constant)}
    return by_string | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def own_names() -> set[str]:
    """What is defined in our own engines, and Python's own types and modules."""
    own: set[str] = set()
    for path in [*OURS, ROOT / "engines/base.py", *(ROOT / "engines/vllm").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
                own |= {node.attr} if is_own else set()
    types = (dict, list, str, bytes, memoryview, int, logging.Logger, asyncio.Future, builtins)
    loops = (asyncio.AbstractEventLoop,)
    modules = (asyncio, logging, sys, *map(importlib.import_module, MODULES))
    return own | {name for each in (*types, *loops, *modules) for name in dir(each)}


MODULES = ("contextlib", "copy", "dataclasses", "inspect", "os", "threading", "time")
OTHERS = {
    *("decoder", "decode", "encode", "id_to_token", "step", "all_special_ids"),  # tokenizers'
    *("bind", "name", "msg", "addFilter", "environ", "__struct_fields__"),  # Python's, msgspec's
    "_max_workers",  # of Python's ThreadPoolExecutor
    *("__version__", "digest", "sha256", "enter_context", "popleft"),
}


def test_every_name_of_vllms_that_is_used_is_listed() -> None:
    assert names_used() - own_names() - OTHERS - PUBLIC - ZEROMQ <= LISTED


def test_every_listed_name_is_used() -> None:
    scheduler = {"schedule", "update_from_output", "requests"}  # by inheritance
    assert names_used() | scheduler >= LISTED


def imported() -> set[tuple[str, str]]:
    return {
        (node.module, alias.name)
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vllm")
        for alias in node.names
        if node.module
    }


def test_every_import_from_vllm_is_listed() -> None:
    assert imported() == {(module, name) for module, names in IMPORTS.items() for name in names}


class Reader:
    """A Sink that takes all it can."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def is_ready(self) -> bool:
        return bool(self.deltas)

    def take(self, delta: Delta) -> None:
        self.deltas.append(delta)


async def answers(llm: Any, **args: Any) -> tuple[list[Any], bool]:
    """Two answers' text, count and end, and whether they went fast."""
    engine, told = engine_over(llm, **args), list[Any]()
    await engine.start()
    for question in ("What is the capital of Norway?", "And of æøå 🙂?"):
        request, reader = ask(question, max_tokens=150), Reader()
        prompt = await engine.render(request)
        async for delta in engine.generate(request, prompt, reader):
            reader.deltas.append(delta)
        cached = sum(delta.cached_tokens for delta in reader.deltas)
        told.append((text(reader.deltas), count(reader.deltas), ends(reader.deltas), cached))
    assert not llm.output_processor.request_states
    return told, engine._fast_path is not None


@pytest.mark.vllm
@pytest.mark.anyio
@pytest.mark.parametrize(("owner", "name"), HIDDEN, ids=named)
async def test_without_one_name_the_answer_is_the_same(
    llm: Any, owner: Owner, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publicly, _ = await answers(llm, fastpath=False)
    assert not caplog.records
    with hidden(owner, name):
        without, _ = await answers(llm)
    assert without == publicly
    parts = [record.args[1] for record in caplog.records if isinstance(record.args, tuple)]
    assert len(parts) == len(set(parts)), "a part is named once"


@pytest.mark.vllm
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["_finish_request", "add_request_async", "request_states"])
async def test_a_name_without_which_no_stream_goes_fast_is_warned_of_with_the_version(
    llm: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    import vllm

    [owner] = [owner for owner, names in FRONT.items() if name in names]
    with hidden(owner, name):
        _, is_fast = await answers(llm)
    assert not is_fast
    assert f"vLLM {vllm.__version__}: direct streams" in caplog.text
    assert name in caplog.text


@pytest.mark.vllm
@pytest.mark.anyio
async def test_with_all_names_all_parts_are_taken(
    llm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    publicly, was_fast = await answers(llm, fastpath=False)
    assert not was_fast
    assert await answers(llm) == (publicly, True)
    assert not caplog.records
