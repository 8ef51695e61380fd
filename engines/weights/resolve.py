"""Where an engine's weights are on this machine; fetched, converted and verified where need be."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import EngineUnavailable
from engines.host.child_job import ChildJobFailed, Progress, run_child_job
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import EngineSpec, Source
from engines.weights.packaged_model import converted_model, gguf_path
from engines.weights.packages import folder_in
from engines.weights.store import selection_of, stored_weights, weights_root

QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


class WeightsUnavailable(EngineUnavailable):
    """The weights cannot be had; the message says why and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=60.0)


def resolve(
    spec: Source,
    data_dir: Path,
    progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """An absolute folder (vllm, an adapter) or GGUF file (llamacpp). Blocks, for hours with large
    weights: call it in a thread. `progress` is called in that thread at least every second while
    something is done; an exception it raises ends the work and comes out here. `environment` is
    what hub and proxies are looked up in (os.environ). Raises EngineUnavailable."""
    around = os.environ if environment is None else environment
    if isinstance(spec, EngineSpec) and spec.source.startswith(PACKAGE):
        return _packaged(spec, data_dir, progress, around)
    if is_local(spec.source):
        return _local(spec)
    found = stored_weights(spec, data_dir, around)
    return fetched(spec, data_dir, progress, around) if found is None else found


def fetched(
    spec: Source,
    data_dir: Path,
    progress: Progress,
    environment: Mapping[str, str],
    *,
    asks_hub: bool = False,
    again: Sequence[str] = (),
) -> Path:
    """Of a hub's model or adapter, as `resolve` gives it. `asks_hub`: also where it is here, since
    a branch may have moved; `again`: files that are fetched although they are here."""
    how = {
        "root": str(weights_root(data_dir, environment)),
        "asks_hub": asks_hub or bool(again),
        "again": list(again),
    }
    args = [spec.source, spec.kind, spec.revision or "", selection_of(spec).names, json.dumps(how)]
    try:
        return Path(run_child_job("engines.weights.hub", args, progress, {**environment, **QUIET}))
    except ChildJobFailed as e:
        raise WeightsUnavailable(str(e)) from None


@dataclass(frozen=True, slots=True)
class FetchSize:
    """What a fetch takes, in bytes; `missing` is what of it is not on this disk yet."""

    commit: str
    licence: str | None
    size: int
    missing: int


def fetch_size(
    spec: Source, data_dir: Path, progress: Progress, environment: Mapping[str, str]
) -> FetchSize:
    """Of a hub's model or adapter; asks the hub. Raises EngineUnavailable."""
    root = str(weights_root(data_dir, environment))
    args = [spec.source, spec.kind, spec.revision or "", selection_of(spec).names, root]
    around = {**environment, **QUIET}
    try:
        told = json.loads(run_child_job("engines.weights.hub_size", args, progress, around))
    except ChildJobFailed as e:
        raise WeightsUnavailable(str(e)) from None
    return FetchSize(**told)


def _packaged(
    spec: EngineSpec, data_dir: Path, progress: Progress, environment: Mapping[str, str]
) -> Path:
    package = spec.source.removeprefix(PACKAGE)
    if spec.kind == "llamacpp":
        return gguf_path(package, spec.file, spec.projector)
    return folder_in(package) or converted_model(data_dir, progress, package, environment)


def _local(spec: Source) -> Path:
    path = Path(spec.source)
    if not path.exists():
        raise WeightsUnavailable(f"{path} is not there; source would be a folder or a file")
    if spec.kind == "adapter":
        return path
    if spec.kind == "llamacpp":
        return _with_projector(_local_gguf(path, spec.file, spec.projector), spec.projector)
    if not (path / "config.json").is_file():
        raise WeightsUnavailable(f"{path} has no config.json; source would be a model's folder")
    if getattr(spec, "args", {}).get("load_format") == "dummy":  # vLLM draws them
        return path
    if not any(any(path.glob(form)) for form in ("*.safetensors", "*.bin", "*.pt")):
        raise WeightsUnavailable(f"{path} holds no weights (*.safetensors)")
    return path


def _with_projector(gguf: Path, projector: str | None) -> Path:
    if projector is not None and not gguf.with_name(projector).is_file():
        raise WeightsUnavailable(f"{gguf.parent} has no projector {projector}")
    return gguf


def _local_gguf(path: Path, file: str | None, projector: str | None) -> Path:
    if path.is_file():
        return path
    ggufs = sorted(each for each in path.glob(file or "*.gguf") if each.name != projector)
    if len(ggufs) != 1:
        names = ", ".join(each.name for each in ggufs) or f"no {file or '*.gguf'}"
        raise WeightsUnavailable(f"{path} holds {names}; right would be file: with one name")
    return ggufs[0]
