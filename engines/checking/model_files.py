"""What a model's files say, in one form for a folder and for a GGUF."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from engines.checking.findings import Finding

Template: TypeAlias = str | Mapping[str, str]
"""One chat template, or several by name, as a tokenizer publishes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVocabulary:
    """Token -> id. `special`: those that are found in text as a whole, `hidden`: those among them
    that text leaves out."""

    ids: Mapping[str, int]
    special: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()

    def has(self, token: str) -> bool:
        return token in self.ids

    def text_of(self, token_id: int) -> str | None:
        return next((token for token, each in self.ids.items() if each == token_id), None)

    @property
    def size(self) -> int:
        return max(self.ids.values(), default=-1) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StopIds:
    """Token ids that end an answer, by one file's word. `counts`: whether the engine reads them
    there."""

    where: str
    ids: tuple[int, ...]
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model's. What is None could not be read, and `damage` says why where that is a fault."""

    kind: Literal["folder", "gguf"]
    config: Mapping[str, Any] | None = None
    """config.json, or what of a GGUF's metadata has the same meaning, under the same names."""
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    template: Template | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """As templates have them: bos_token, eos_token, …"""
    vocabulary: StoredVocabulary | None = None
    stops: tuple[StopIds, ...] = ()
    is_causal: bool = True
    """False: it makes vectors, and speaks to nobody."""
    is_of_mistral: bool = False
    """mistral-common renders its chats, without a template."""
    stop_texts: frozenset[str] = frozenset()
    """Tokens that end an answer for their name's sake."""
    damage: tuple[Finding, ...] = ()

    def template_for(self, has_tools: bool) -> str | None:
        """The one that is rendered, as transformers chooses among several."""
        if self.template is None or isinstance(self.template, str):
            return self.template
        named = self.template.get("tool_use") if has_tools else None
        return named or self.template.get("default")
