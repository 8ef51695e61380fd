"""A folder of Hugging Face files -> ModelFiles. Nothing of it is run, nothing is loaded."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.checking.findings import bounded, fail
from engines.checking.json_files import JsonFiles
from engines.checking.model_files import ModelFiles, StopIds, StoredVocabulary, Template
from engines.planning.config import ENCODERS

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
MOST_TEMPLATE_BYTES = 4 * 2**20


def read_folder(folder: Path, reads_generation_config: bool = True) -> ModelFiles:
    """Raises nothing: what is damaged is told in `damage`. `reads_generation_config`: whether the
    engine does."""
    files = JsonFiles(folder)
    config = files.read("config.json", "config.json")
    generation = files.read("generation_config.json", "stop.generation_config")
    tokenizer_config = files.read("tokenizer_config.json", "tokenizer.config") or {}
    vocabulary = _vocabulary(files)
    special = {**_special(files.read("special_tokens_map.json", "tokenizer.special_tokens") or {})}
    special |= _special(tokenizer_config)
    return ModelFiles(
        kind="folder",
        config=config,
        tokenizer_config=tokenizer_config,
        template=_template(folder, tokenizer_config, files),
        special_tokens=special,
        vocabulary=vocabulary,
        is_causal=(config or {}).get("model_type") not in ENCODERS,
        is_of_mistral=(folder / "tekken.json").is_file(),
        stops=tuple(
            _stops(
                config,
                generation if reads_generation_config else None,
                special.get("eos_token"),
                vocabulary,
            )
        ),
        damage=tuple(files.damage),
    )


def _vocabulary(files: JsonFiles) -> StoredVocabulary | None:
    tokenizer = files.read("tokenizer.json", "tokenizer.json")
    if tokenizer is None:
        return None
    try:
        added = list(tokenizer.get("added_tokens") or ())
        ids = {**_model_ids(tokenizer["model"]["vocab"])}
        ids |= {str(each["content"]): int(each["id"]) for each in added}
        hidden = frozenset(str(each["content"]) for each in added if each.get("special"))
        return StoredVocabulary(
            ids=ids, special=frozenset(str(each["content"]) for each in added), hidden=hidden
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"tokenizer.json holds no vocabulary: {bounded(repr(error))}"
        files.damage.append(fail("tokenizer.vocabulary", what))
        return None


def _model_ids(vocab: Any) -> Mapping[str, int]:
    """BPE and WordPiece have an object, Unigram a list of [token, score]."""
    if isinstance(vocab, list):
        return {str(each[0]): index for index, each in enumerate(vocab)}
    return {str(token): int(token_id) for token, token_id in vocab.items()}


def _special(values: Mapping[str, Any]) -> dict[str, str]:
    """Each a text, or an object with its `content`."""
    found = {}
    for name in SPECIAL_TOKENS:
        value = values.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[name] = text
    return found


def _template(
    folder: Path, tokenizer_config: Mapping[str, Any], files: JsonFiles
) -> Template | None:
    """A file of its own comes before the tokenizer's; then that of a processor."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        own, others = _text(path, files), _others(folder, files)
        return {**others, "default": own or ""} if others else own
    published = tokenizer_config.get("chat_template")
    if published is None:
        published = (files.read("chat_template.json", "template.json") or {}).get("chat_template")
    if isinstance(published, list):
        return {
            str(each["name"]): str(each["template"])
            for each in published
            if isinstance(each, dict) and {"name", "template"} <= each.keys()
        }
    return published if isinstance(published, str) else None


def _others(folder: Path, files: JsonFiles) -> Mapping[str, str]:
    """Templates with a name, such as tool_use."""
    paths = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    texts = {path.stem: _text(path, files) for path in paths}
    return {name: text for name, text in texts.items() if text is not None}


def _text(path: Path, files: JsonFiles) -> str | None:
    try:
        if path.stat().st_size > MOST_TEMPLATE_BYTES:
            raise ValueError(f"it has more than {MOST_TEMPLATE_BYTES // 2**20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        files.damage.append(fail("template.file", f"{path.name} cannot be read: {bounded(why)}"))
        return None


def _stops(
    config: Mapping[str, Any] | None,
    generation: Mapping[str, Any] | None,
    eos_token: str | None,
    vocabulary: StoredVocabulary | None,
) -> Iterable[StopIds]:
    """vLLM stops at the tokenizer's, and at those of generation_config.json; config.json's count
    where that is not there."""
    if generation is not None and (ids := eos_ids(generation)):
        yield StopIds(where="generation_config.json", ids=ids)
    if config is not None and (ids := eos_ids(config) or eos_ids(text_config(config))):
        yield StopIds(where="config.json", ids=ids, counts=generation is None)
    if vocabulary is not None and eos_token in vocabulary.ids:
        yield StopIds(where="the tokenizer", ids=(vocabulary.ids[str(eos_token)],))


def eos_ids(values: Mapping[str, Any]) -> tuple[int, ...]:
    """One id, or several."""
    given = values.get("eos_token_id")
    several = given if isinstance(given, list) else [given]
    return tuple(each for each in several if isinstance(each, int) and not isinstance(each, bool))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a model that also sees or hears is about text; of others the whole."""
    inner = config.get("text_config") or config.get("llm_config")
    return {**config, **inner} if isinstance(inner, dict) else config
