"""A LoRA adapter in PEFT's form, and whether an engine's arguments can serve it."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from engines.base import Adapter, EngineUnavailable
from engines.registry.adapter_tensors import LoraModule, lora_modules
from engines.registry.sources import COMMIT, HUB_ID
from engines.registry.vllm_names import by_keyword

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
MOST_CONFIG_BYTES: Final = 1 << 20
GGUF: Final = ".gguf"
MOST_LLAMACPP: Final = 64
"""llama.cpp loads all of them at its start."""
USUAL_RANK: Final = 16
"""vLLM's max_lora_rank and ..."""
USUAL_COUNT: Final = 1
"""... max_loras where its arguments say nothing."""
UNSUPPORTED: Final = (
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "use_bdlora",
    "use_qalora",
    "modules_to_save",
)
"""What PEFT knows and vLLM does not."""
PLAIN_STARTS: Final = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Words of init_lora_weights that leave the base's weights as they are."""
_MOST_LOOK_UPS = 2_000_000
"""Keys of rank_pattern times modules: about a second."""
_PATTERN = re.compile(r"[\w.^$\\-]{1,200}")
"""Of rank_pattern: names of modules. What repeats may take for ever, and comes from the hub."""

RETRY_S: Final = 30.0

HubFolder: TypeAlias = Callable[[str, str | None], Path | None]
"""(owner/name, revision) -> its folder, one a commit, where it is on this disk. Asks no hub."""


def nowhere(source: str, revision: str | None) -> Path | None:
    """The HubFolder of who looks at no disk."""
    return None


class AdapterUnavailable(EngineUnavailable):
    """It costs its own alias alone. Why, is its cause, and for the log: it may name paths."""

    def __init__(self) -> None:
        said = "The model's adapter cannot be loaded now; the server's log says why."
        super().__init__(said, RETRY_S)


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """What its files say."""

    adapter: Adapter
    rank: int
    """0: of the hub, and not on this disk, or a GGUF."""
    trained_on: str
    """The model that it was trained on, in its own words; "": it says none."""


def found_adapter(
    source: str, base: Path, revision: str | None = None, here: HubFolder = nowhere
) -> FoundAdapter:
    """The folder `source`, seen from `base`, or the hub's owner/name. Raises ValueError with what
    is wrong and would be right."""
    path = base / Path(source).expanduser()
    is_path = source.startswith(("/", "./", "../", "~")) or path.exists()
    if is_path or not HUB_ID.fullmatch(source):
        return _own(source, path.resolve(), revision)
    folder = here(source, revision)
    if folder is None:
        pinned = revision if revision and COMMIT.fullmatch(revision) else ""
        return FoundAdapter(_of_hub(source, revision, pinned), 0, "")
    rank, trained_on = read_adapter(folder, source)
    return FoundAdapter(_of_hub(source, revision, folder.name), rank, trained_on)


def _own(source: str, folder: Path, revision: str | None) -> FoundAdapter:
    if folder.suffix == GGUF and folder.is_file() and revision is None:
        return FoundAdapter(Adapter(name=_name(folder), path=str(folder)), 0, "")
    if not folder.is_dir():
        right = f"one that holds {CONFIG}, or the hub's owner/name"
        raise ValueError(f"{source!r} is no folder; right would be {right}")
    if revision is not None:
        raise ValueError(f"{source!r} is a folder of one's own, which has no adapter_revision")
    rank, trained_on = read_adapter(folder, source)
    return FoundAdapter(Adapter(name=_name(folder), path=str(folder)), rank, trained_on)


def _of_hub(source: str, revision: str | None, commit: str) -> Adapter:
    """By its commit where that is known: what a branch becomes later is another adapter."""
    name = f"{source}@{commit[:12] or revision or 'main'}"
    return Adapter(name=name, source=source, revision=revision, commit=commit)


def read_adapter(folder: Path, source: str) -> tuple[int, str]:
    """Its greatest rank, and what it was trained on. Raises ValueError about `source`."""
    config = adapter_config(folder, source)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{source!r} holds no {WEIGHTS}")
    if (kind := config.get("peft_type", "LORA")) != "LORA":
        raise ValueError(f"{source!r} is a {str(kind)[:40]}; right would be a LORA")
    if (needed := _unsupported(config)) is not None:
        raise ValueError(f"{source!r} needs {needed}, which vLLM does not know")
    ranks = _Ranks(config, source)
    try:
        modules = lora_modules(folder / WEIGHTS)
    except ValueError as error:
        raise ValueError(f"{source!r}: {error}") from None
    ranks.check(modules)
    trained_on = config.get("base_model_name_or_path")
    return ranks.greatest, trained_on if isinstance(trained_on, str) else ""


def most_adapters(args: Mapping[str, Any]) -> int:
    """How many an engine holds at once: more would be read from their folders again and again."""
    given = by_keyword(args)
    most = given.get("max_cpu_loras") or given.get("max_loras", USUAL_COUNT)
    return most if isinstance(most, int) else USUAL_COUNT


def unable(args: Mapping[str, Any], rank: int) -> str | None:
    """What an engine's arguments lack for an adapter of that rank."""
    given = by_keyword(args)
    if given.get("enable_lora") is not True:
        return "args need enable_lora: true, max_loras and max_lora_rank"
    most = given.get("max_lora_rank", USUAL_RANK)
    if isinstance(most, int) and rank > most:
        return f"its rank is {rank}, and args.max_lora_rank is {most}"
    return None


def unable_llamacpp(args: Mapping[str, Any]) -> str | None:
    """The same of llama.cpp, whatever the rank."""
    if args.get("cache_ram_mib"):
        kept = "keeps prompts, and not by which adapter they were read"
        return f"args.cache_ram_mib {kept}; right would be to leave it out"
    return None


def adapter_config(folder: Path, source: str) -> Mapping[str, Any]:
    """Raises ValueError about `source`."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"{source!r}: its {CONFIG} has over {MOST_CONFIG_BYTES} bytes")
        config = json.loads(path.read_bytes())
    except OSError:
        raise ValueError(f"{source!r} holds no {CONFIG} that can be read") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{source!r}: its {CONFIG} is no JSON object")
    return config


def _unsupported(config: Mapping[str, Any]) -> str | None:
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in PLAIN_STARTS:
        return f"init_lora_weights: {start[:40]} (the base's weights changed with it)"
    wrong = [name for name in UNSUPPORTED if config.get(name)]
    if wrong or config.get("bias", "none") != "none":
        return (wrong or ["bias"])[0]
    return None


class _Ranks:
    """What a config says of its modules' ranks. Raises ValueError."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._source = source
        pattern = config.get("rank_pattern") or {}
        self._pattern: Mapping[str, int] = pattern if isinstance(pattern, dict) else {}
        ranks = [config.get("r"), *self._pattern.values()]
        known = [rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool)]
        if len(known) != len(ranks) or min(known) < 1:
            raise ValueError(f"{source!r}: its {CONFIG} names no rank (r)")
        if wrong := [key for key in self._pattern if not _is_name(key)]:
            raise ValueError(f"{source!r}: rank_pattern {wrong[0][:80]!r} is no module's name")
        self.greatest, self._usual = max(known), known[0]
        self._keys = [(re.compile(rf"(.*\.)?({k})"), rank) for k, rank in self._pattern.items()]

    def check(self, modules: Mapping[str, LoraModule]) -> None:
        """Raises ValueError where the tensors are of other ranks; of fused experts they are
        multiples."""
        if len(self._keys) * len(modules) > _MOST_LOOK_UPS:
            raise ValueError(f"{self._source!r}: its rank_pattern has too many keys")
        for module, found in modules.items():
            said = self._of(module)
            is_fused = module.endswith((".experts", ".experts.base_layer"))
            if found.rank % said if is_fused else found.rank != said:
                raise ValueError(
                    f"{self._source!r}: its {CONFIG} says rank {said}, and the tensors of "
                    f"{module[:120]!r} have {found.rank}"
                )

    def _of(self, module: str) -> int:
        """As PEFT: the first key at the end of the name."""
        return next((rank for key, rank in self._keys if key.fullmatch(module)), self._usual)


def _is_name(key: str) -> bool:
    try:
        return bool(_PATTERN.fullmatch(key) and re.compile(key))
    except re.error:
        return False


def _name(folder: Path) -> str:
    """Another one once its files are others."""
    told = [str(folder)]
    for file in [folder] if folder.suffix == GGUF else [folder / CONFIG, folder / WEIGHTS]:
        stat = file.stat()
        told.append(f"{stat.st_size} {stat.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    return f"{folder.name}:{digest[:12]}"
