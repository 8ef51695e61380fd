"""A LoRA adapter's folder in PEFT's form, and whether an engine's arguments can serve it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engines.base import Adapter
from engines.registry.vllm_names import by_keyword

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
MOST_CONFIG_BYTES: Final = 1 << 20
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


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """What its files say."""

    adapter: Adapter
    rank: int
    trained_on: str
    """The model that it was trained on, in its own words; "": it says none."""


def found_adapter(source: str, base: Path) -> FoundAdapter:
    """In the folder `source`, seen from `base`. Raises ValueError with what is wrong and would be
    right."""
    folder = (base / Path(source).expanduser()).resolve()
    if not folder.is_dir():
        raise ValueError(f"{source!r} is no folder; right would be one that holds {CONFIG}")
    config = _config(folder, source)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{source!r} holds no {WEIGHTS}")
    if (kind := config.get("peft_type", "LORA")) != "LORA":
        raise ValueError(f"{source!r} is a {str(kind)[:40]}; right would be a LORA")
    wrong = [name for name in UNSUPPORTED if config.get(name)]
    if wrong or config.get("bias", "none") != "none":
        raise ValueError(f"{source!r} needs {(wrong or ['bias'])[0]}, which vLLM does not know")
    trained_on = config.get("base_model_name_or_path")
    return FoundAdapter(
        Adapter(name=_name(folder), path=str(folder)),
        _rank(config, source),
        trained_on if isinstance(trained_on, str) else "",
    )


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


def _config(folder: Path, source: str) -> Mapping[str, Any]:
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


def _rank(config: Mapping[str, Any], source: str) -> int:
    """The greatest of its modules'."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [])]
    known = [rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool)]
    if len(known) != len(ranks) or min(known) < 1:
        raise ValueError(f"{source!r}: its {CONFIG} names no rank (r)")
    return max(known)


def _name(folder: Path) -> str:
    """Another one once its files are others."""
    told = [str(folder)]
    for file in (CONFIG, WEIGHTS):
        stat = (folder / file).stat()
        told.append(f"{stat.st_size} {stat.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    return f"{folder.name}:{digest[:12]}"
