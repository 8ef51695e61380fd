"""Whether a model asks for code of its own to be run, and whether the registry lets it. Nothing of
it is run here."""

from collections.abc import Iterator, Mapping
from typing import Any

from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.checking.model_files import ModelFiles
from engines.registry.vllm_models import (
    is_known_model_type,
    is_known_tokenizer,
    vllm_architectures,
)

_ID = "config.remote_code"


def remote_code_findings(files: ModelFiles, args: Mapping[str, Any]) -> Iterator[Finding]:
    """`args`: the engine's own, from the registry."""
    is_given = args.get("trust_remote_code") is True
    asked = [*_asked(files.config or {}), *_asked(files.tokenizer_config)]
    needed = _needed(files)
    if not asked:
        if is_given:
            yield note(_ID, "trust_remote_code is given, and the model brings no code")
        else:
            yield ok(_ID, "the model brings no code of its own")
    elif needed is None:
        yield note(
            _ID, f"{_named(asked)}; not known here whether vLLM needs it (it is not installed)"
        )
    elif needed and not is_given:
        yield fail(_ID, f"{_named(asked)}: needed, and args lack trust_remote_code: true")
    elif is_given and not needed:
        yield note(_ID, f"{_named(asked)}; trust_remote_code runs it, and vLLM does not need it")
    else:
        how = "trust_remote_code runs it" if is_given else "not needed: vLLM has its own"
        yield ok(_ID, f"{_named(asked)}; {how}")


def _asked(values: Mapping[str, Any]) -> list[str]:
    """The files that its auto_map names."""
    auto_map = values.get("auto_map")
    places = auto_map.values() if isinstance(auto_map, dict) else ()
    texts = (str(each[0] if isinstance(each, list) and each else each) for each in places)
    return [f"{text.partition('--')[2] or text}".partition(".")[0] + ".py" for text in texts]


def _named(asked: list[str]) -> str:
    return f"the model brings code ({bounded(', '.join(dict.fromkeys(asked)), 60)})"


def _needed(files: ModelFiles) -> bool | None:
    """None: the libraries that could say are not here."""
    config, tokenizer = files.config or {}, files.tokenizer_config
    needs: list[bool | None] = []
    if config.get("auto_map"):
        known = is_known_model_type(str(config.get("model_type")))
        needs.append(None if known is None else not known or _is_foreign(config))
    if tokenizer.get("auto_map"):
        named = str(tokenizer.get("tokenizer_class"))
        known = is_known_tokenizer(named, str(config.get("model_type")))
        needs.append(None if known is None else not known)
    return None if None in needs else any(needs)


def _is_foreign(config: Mapping[str, Any]) -> bool:
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else None
    return bool(vllm_architectures()) and named not in vllm_architectures()
