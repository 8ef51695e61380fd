"""EngineSpec -> what is known of its model, without fetching or loading its weights."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from engines.base import EngineUnavailable
from engines.gguf import BadGguf, GgufFile
from engines.host.child_job import ChildJobFailed, Progress, run_child_job
from engines.planning.config import facts_of
from engines.planning.facts import WIDTHS, FactsUnknown, ModelFacts
from engines.planning.gguf_facts import gguf_facts
from engines.planning.shipped import shipped_facts
from engines.planning.stored import facts_of_path
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import EngineSpec
from engines.weights.present import packaged_weights
from engines.weights.resolve import QUIET, resolve
from engines.weights.store import selection_of, stored_weights

HUB_S = 20.0
"""How long the hub may take to describe one model."""


def model_facts(
    spec: EngineSpec,
    data_dir: Path,
    environment: Mapping[str, str] | None = None,
    *,
    may_ask_hub: bool = True,
    progress: Progress = lambda *_: None,
) -> ModelFacts:
    """From the disk, else from what ships with Fjord, else from the hub. Blocks; an exception that
    `progress` raises ends it. Raises FactsUnknown."""
    around = os.environ if environment is None else environment
    try:
        if spec.source.startswith(PACKAGE):
            return _with_projector(
                spec, _packaged(spec, data_dir), packaged_weights(spec, data_dir)
            )
        if is_local(spec.source):
            return _of_path(spec, resolve(spec, data_dir, lambda *_: None, around))
        if (path := stored_weights(spec, data_dir, around)) is not None:
            return _of_path(spec, path)
    except (EngineUnavailable, BadGguf) as error:
        raise FactsUnknown(str(error)) from None
    if spec.kind == "vllm" and (shipped := shipped_facts(spec.source)) is not None:
        return shipped
    if not may_ask_hub:
        raise FactsUnknown(f"{spec.source} is on the hub, which is not asked here")
    return _of_hub(spec, around, progress)


def _of_path(spec: EngineSpec, path: Path) -> ModelFacts:
    return _with_projector(spec, facts_of_path(path), path)


def _with_projector(spec: EngineSpec, facts: ModelFacts, path: Path) -> ModelFacts:
    """It is loaded as it is, beside the model's GGUF at `path`. Raises FactsUnknown."""
    if spec.projector is None:
        return facts
    try:
        size = path.with_name(spec.projector).stat().st_size
    except OSError:
        raise FactsUnknown(f"{spec.source} has no projector {spec.projector}") from None
    elements = {**facts.elements, "U8": facts.elements.get("U8", 0) + size}
    return replace(facts, elements=elements, stored_bytes=facts.stored_bytes + size)


def _packaged(spec: EngineSpec, data_dir: Path) -> ModelFacts:
    path = packaged_weights(spec, data_dir)
    if path.is_dir():
        return facts_of_path(path)
    with contextlib.closing(GgufFile(path)) as file:
        return gguf_facts(file, converted=spec.kind == "vllm")


def _of_hub(spec: EngineSpec, environment: Mapping[str, str], progress: Progress) -> ModelFacts:
    began = time.monotonic()

    def in_time(what: str, done: int | None, total: int | None) -> None:
        progress(what, done, total)
        if time.monotonic() - began > HUB_S:
            raise FactsUnknown(f"the hub did not describe {spec.source} in {HUB_S:g} s")

    args = [spec.source, spec.kind, spec.revision or "", selection_of(spec).names]
    try:
        job = "engines.weights.hub_description"
        told = json.loads(run_child_job(job, args, in_time, {**environment, **QUIET}))
    except ChildJobFailed as error:
        raise FactsUnknown(str(error)) from None
    if "path" in told:
        return _of_path(spec, Path(told["path"]))
    return _of_config(spec.source, told["config"], told["bytes"])


def _of_config(name: str, config: Mapping[str, object], stored_bytes: int) -> ModelFacts:
    """The headers being elsewhere, all weights are taken to be of the model's own dtype."""
    plain = facts_of(name, config, {"BF16": stored_bytes // 2}, stored_bytes)
    dtype = "U8" if plain.is_quantised else plain.dtype
    return facts_of(name, config, {dtype: stored_bytes // WIDTHS[dtype]}, stored_bytes)
