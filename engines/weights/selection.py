"""Which files of a repository an engine reads, and whether those that are here are all of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from engines.registry.adapters import CONFIG, MOST_CONFIG_BYTES, WEIGHTS

ALLOWED = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "*.safetensors")
IGNORED = ("original/*", "consolidated*", "metal/*", "onnx/*", "openvino/*")
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
PYTORCH = "pytorch_model*.bin"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Selection:
    """What an engine of this kind wants, or whoever reads an "adapter"; for llamacpp alone `file`,
    the GGUF's name, and that of a `projector` beside it."""

    kind: str
    file: str | None = None
    projector: str | None = None

    @classmethod
    def of(cls, kind: str, names: str) -> "Selection":
        """`names`: those of a Selection, as a child process is told them."""
        return cls(kind, *json.loads(names))

    @property
    def names(self) -> str:
        return json.dumps([self.file, self.projector])

    @property
    def beside(self) -> str | None:
        """The projector's name in the repository."""
        if self.projector is None:
            return None
        return str(PurePosixPath(self.file or ".").parent / self.projector)

    @property
    def patterns(self) -> tuple[str, ...]:
        if self.kind != "llamacpp":
            return (CONFIG, WEIGHTS) if self.kind == "adapter" else ALLOWED
        models = self.file.replace("-00001-of-", "-*-of-") if self.file else "*.gguf"
        return (models, self.beside) if self.beside else (models,)

    def wanted(self, names: Iterable[str]) -> list[str]:
        """In order of their names. PyTorch's own files only where there are no others."""
        found = _matching(names := sorted(names), (*self.patterns, *LICENCES))
        has_weights = any(name.endswith((".safetensors", ".gguf")) for name in found)
        if self.kind != "adapter" and not has_weights:
            found = _matching(names, (*self.patterns, *LICENCES, PYTORCH))
        return found

    def lack(self, sizes: Mapping[str, int]) -> str | None:
        """What a repository with these files (bytes, by name) should have, to be fetched."""
        if self.kind == "llamacpp":
            ggufs = self.ggufs(sizes)
            held = ", ".join(ggufs)[:200] or f"no {self.patterns[0]}"
            if not ggufs or not are_one(ggufs):
                return f"{held}; right would be file: with one name"
            is_missing = self.beside is not None and self.beside not in sizes
            return f"no projector {self.beside}" if is_missing else None
        if self.kind != "adapter":
            return None
        if missing := [name for name in self.patterns if name not in sizes]:
            return f"no {' and no '.join(missing)}: it is no LoRA in PEFT's form"
        if sizes[CONFIG] > MOST_CONFIG_BYTES:
            return f"a {CONFIG} of over {MOST_CONFIG_BYTES:,} bytes: it is no LoRA in PEFT's form"
        return None

    def ggufs(self, names: Iterable[str]) -> list[str]:
        """The model's own."""
        found = [name for name in self.wanted(names) if name.endswith(".gguf")]
        return [name for name in found if name != self.beside]

    def weights(self, folder: Path, names: Sequence[str]) -> Path | None:
        """The folder or the GGUF file in it, where everything that its index names is among
        `names`."""
        if self.kind == "llamacpp":
            ggufs = self.ggufs(names)
            if self.beside is not None and self.beside not in names:
                return None
            return folder / ggufs[0] if ggufs and are_one(ggufs) else None
        if self.kind == "adapter":
            return folder if {CONFIG, WEIGHTS} <= set(names) else None
        if "config.json" not in names:
            return None
        if INDEX in names:
            shards = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()
            return folder if set(shards) <= set(names) else None
        top = [name for name in names if "/" not in name]
        return folder if _matching(top, ("*.safetensors", PYTORCH)) else None


def are_one(ggufs: Sequence[str]) -> bool:
    """One file, or the parts of one."""
    return len({name.partition("-00")[0] for name in ggufs}) == 1 and (
        len(ggufs) == 1 or all("-of-" in name for name in ggufs)
    )


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    def is_wanted(name: str) -> bool:
        kept = any(fnmatchcase(name, pattern) for pattern in patterns)
        return kept and not any(fnmatchcase(name, pattern) for pattern in IGNORED)

    return [name for name in names if is_wanted(name)]
