"""The argument and parser names of the installed vLLM, read from its source: nothing imported."""

import ast
import importlib.util
from functools import cache
from pathlib import Path


@cache
def vllm_argument_names() -> frozenset[str]:
    """Fields of vLLM's AsyncEngineArgs; empty where vLLM is not installed. About 50 ms."""
    found: set[str] = set()
    for node in _tree("engine/arg_utils.py").body:
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs"):
            fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
            found |= {each.id for each in fields if isinstance(each, ast.Name)}
    return frozenset(found)


def vllm_tool_parser_names() -> frozenset[str]:
    """What may stand as `tool_parser`; empty where vLLM is not installed."""
    return _registered("tool_parsers/__init__.py")


def vllm_reasoning_parser_names() -> frozenset[str]:
    """What may stand as vLLM's own `reasoning_parser`; empty where vLLM is not installed."""
    return _registered("reasoning/__init__.py")


def _registered(file: str) -> frozenset[str]:
    """The string keys of the module's name -> (file, class) table."""
    tables = [n.value for n in _tree(file).body if isinstance(n, ast.Assign | ast.AnnAssign)]
    keys = [key for table in tables if isinstance(table, ast.Dict) for key in table.keys]
    return frozenset(str(k.value) for k in keys if isinstance(k, ast.Constant))


def _tree(file: str) -> ast.Module:
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return ast.Module(body=[], type_ignores=[])
    path = Path(found.origin).parent / file
    return ast.parse(path.read_text()) if path.exists() else ast.Module(body=[], type_ignores=[])
