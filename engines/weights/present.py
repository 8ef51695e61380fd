"""Where a model's weights are on this disk, if they are: nothing is fetched or converted."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from engines.host.child_job import ChildJobFailed, run_child_job
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import EngineSpec, Source
from engines.weights.packages import folder_in, gguf_in
from engines.weights.resolve import QUIET, resolve
from engines.weights.store import selection_of, stored_weights

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def present_weights(
    spec: Source, data_dir: Path, environment: Mapping[str, str] | None = None
) -> Path | None:
    """A folder or a GGUF file, of a model or an adapter; for vLLM also the GGUF that a start would
    convert. None: it would be fetched. Raises EngineUnavailable where a local source is not what it
    should be."""
    around = os.environ if environment is None else environment
    if isinstance(spec, EngineSpec) and spec.source.startswith(PACKAGE):
        return packaged_weights(spec, data_dir)
    if is_local(spec.source):
        path = Path(spec.source)
        return path if path.is_dir() and spec.kind == "vllm" else resolve(spec, data_dir, _quiet)
    return stored_weights(spec, data_dir, around) or _cached(spec, around)


def packaged_weights(spec: EngineSpec, data_dir: Path) -> Path:
    """A folder of Hugging Face files, what a GGUF was converted to, or the GGUF. Raises
    EngineUnavailable where the package is not installed, or has none."""
    package = spec.source.removeprefix(PACKAGE)
    if spec.kind == "vllm" and (folder := folder_in(package)) is not None:
        return folder
    gguf = Path(gguf_in(package, spec.file, spec.projector).locate())
    converted = data_dir.resolve() / "models" / gguf.stem
    is_converted = spec.kind == "vllm" and (converted / "config.json").exists()
    return converted if is_converted else gguf


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps what it fetched, as it finds it itself."""
    if named := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return caches / "huggingface" / "hub"


def _cached(spec: Source, environment: Mapping[str, str]) -> Path | None:
    if not (hub_cache(environment) / f"models--{spec.source.replace('/', '--')}").is_dir():
        return None
    args = [spec.source, spec.kind, spec.revision or "", selection_of(spec).names]
    around = {**environment, **QUIET, **OFFLINE}
    try:
        told = json.loads(run_child_job("engines.weights.hub_description", args, _quiet, around))
    except ChildJobFailed:
        return None
    return Path(told["path"]) if "path" in told else None


def _quiet(what: str, done: int | None, total: int | None) -> None:
    pass
