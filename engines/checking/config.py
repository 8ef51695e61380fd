"""What a model is: architecture, context, dtype, quantisation, and whether vLLM takes it."""

from collections.abc import Iterator, Mapping
from typing import Any

from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.checking.folder import text_config
from engines.checking.gguf_model import FILE_TYPES
from engines.registry.vllm_models import (
    deprecated_quantisations,
    dropped_architectures,
    is_known_to_transformers,
    vllm_architectures,
    vllm_quantisations,
    vllm_version,
)

_LONGER = ("rope_scaling", "rope_parameters")
_REMOVED_FILE_TYPES = (4, 5, 6, 33, 34, 35)
"""Forms that llama.cpp reads no longer."""


def gguf_config_findings(
    config: Mapping[str, Any], context_tokens: int | None
) -> Iterator[Finding]:
    """`context_tokens`: the registry's."""
    yield ok("config.architecture", f"{bounded(config['architectures'][0])}, a GGUF for llama.cpp")
    yield from _context(config, context_tokens, is_strict=False)
    kind = config.get("file_type")
    if kind in _REMOVED_FILE_TYPES:
        yield fail("config.quantisation", f"form {kind} of GGUF: llama.cpp reads it no longer")
    else:
        name = FILE_TYPES.get(kind) if isinstance(kind, int) else None
        yield ok("config.quantisation", f"weights in {name or 'a form that has no name here'}")


def config_findings(
    config: Mapping[str, Any], args: Mapping[str, Any], context_tokens: int | None
) -> Iterator[Finding]:
    """Of a config.json. `args`: the engine's own arguments, from the registry."""
    yield _architecture(config)
    held = args.get("max_model_len")
    asked = [each for each in (context_tokens, held) if isinstance(each, int)]
    yield from _context(config, max(asked, default=None), is_strict=True)
    text = text_config(config)
    dtype = text.get("torch_dtype") or text.get("dtype") or config.get("dtype")
    if isinstance(dtype, str):
        yield ok("config.dtype", f"computes in {bounded(dtype.removeprefix('torch.'), 40)}")
    else:
        yield note("config.dtype", "config.json names no dtype: that of the weights is taken")
    yield _quantisation(text, args)


def _architecture(config: Mapping[str, Any]) -> Finding:
    id, named = "config.architecture", config.get("architectures")
    if not (isinstance(named, list) and named and isinstance(named[0], str)):
        return fail(id, "config.json names no architecture")
    name, version = bounded(named[0], 60), vllm_version()
    if not vllm_architectures():
        return note(id, f"{name}; vLLM is not installed here: not known whether it runs it")
    if name in vllm_architectures():
        return ok(id, f"{name}, known to vLLM {version}")
    if (last := dropped_architectures().get(name)) is not None:
        where = f"needs the plugin {last}" if "/" in last else f"was dropped after vLLM {last}"
        return fail(id, f"{name} {where}; here is vLLM {version}")
    if is_known_to_transformers(name):
        return note(id, f"{name}: vLLM {version} runs it by transformers' code, slower")
    if config.get("auto_map"):
        return note(id, f"{name} is not in vLLM {version}: by code of the model's own, if at all")
    return fail(id, f"{name}: vLLM {version} knows no such architecture")


def _context(config: Mapping[str, Any], asked: int | None, is_strict: bool) -> Iterator[Finding]:
    """`is_strict`: the engine refuses a longer one."""
    id, text = "config.context", text_config(config)
    trained = text.get("max_position_embeddings")
    if not isinstance(trained, int) or isinstance(trained, bool) or trained <= 0:
        yield note(id, "the model does not say for how many tokens it was trained")
    elif asked is None or asked <= trained:
        told = "" if asked is None or asked == trained else f"; the registry gives {asked:,}"
        yield ok(id, f"a context of {trained:,} tokens{told}")
    else:
        longer = f"the registry's {asked:,} tokens are more than the {trained:,} it was trained for"
        is_scaled = any(_is_scaling(text.get(name)) for name in _LONGER)
        yield note(id, longer) if is_scaled or not is_strict else fail(id, longer)


def _is_scaling(value: Any) -> bool:
    return isinstance(value, dict) and "factor" in str(value)


def _quantisation(text: Mapping[str, Any], args: Mapping[str, Any]) -> Finding:
    id = "config.quantisation"
    stored = text.get("quantization_config") or text.get("compression_config")
    method = stored.get("quant_method") if isinstance(stored, dict) else None
    asked = args.get("quantization")
    name = str(method or asked or "").lower().replace("compressed_tensors", "compressed-tensors")
    if stored and not method:
        return note(id, "quantised, by a method that config.json does not name")
    if not name:
        return ok(id, "not quantised")
    shown = bounded(name, 40)
    if not vllm_quantisations():
        return note(id, f"{shown}; vLLM is not installed here: not known whether it reads it")
    if name in deprecated_quantisations():
        what = f"quantised as {shown}, which vLLM {vllm_version()} has deprecated"
        if args.get("allow_deprecated_quantization") is True:
            return note(id, what)
        return fail(id, f"{what}: args lack allow_deprecated_quantization: true")
    if name not in vllm_quantisations():
        return fail(id, f"{shown}: vLLM {vllm_version()} knows no such quantisation")
    return ok(id, f"quantised as {shown}, known to vLLM {vllm_version()}")
