"""What the registry says of one model: weights, engine, limits, price."""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from engines.base import FOUND, Adapter, Reasoning

NO_TOOLS = "none"
"""The `tool_parser` of a model that calls no tools."""
LLAMACPP_CONTEXT_TOKENS = 8192
"""llama.cpp's n_ctx where no argument says otherwise and the model knows more: its cache costs
184 MB with SmolLM2-135M."""

MOST_REPLICAS = 64
MOST_IMAGES = 64

Task: TypeAlias = Literal["generate", "embed", "rerank", "transcribe"]
"""What a model makes: text, vectors, scores of pairs of texts, or text of speech."""
POOLING: Final[frozenset[Task]] = frozenset({"embed", "rerank"})
"""Tasks whose models read alone, and generate nothing."""
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How hard a model is to think, in OpenAI's words."""
Load: TypeAlias = Literal["start", "demand", "never"]
"""start: at the server's start. demand: at the first request. never: where an operator says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One engine to start. Two aliases with equal specs share one engine.

    `args` are the engine's own argument names, untouched (vLLM's AsyncEngineArgs for "vllm").
    """

    kind: Literal["vllm", "llamacpp", "scripted", "peer"]
    """peer: the alias on another node of the site."""
    source: str
    """Hub id, absolute path, or "package:<distribution>"; for "scripted" a free name, for "peer"
    the alias."""
    revision: str | None = None
    file: str | None = None
    """llamacpp: the GGUF's file name inside a hub repository, folder or package."""
    projector: str | None = None
    """llamacpp: the name of the GGUF beside it that turns pictures into tokens; None: it reads text
    only."""
    task: Task = "generate"
    args: Mapping[str, Any] = field(default_factory=dict)
    thinking: tuple[str, str] | None = None
    """vllm: the marks between which it counts what is thought, where an alias of it thinks."""
    images: int = 0
    """vllm: the most pictures of one request, of all its aliases; 0: no memory is kept for any."""
    adapters: tuple[Adapter, ...] = ()
    """llamacpp: what is laid over its weights, loaded at its start."""
    replica: int = 0
    """Which of several equal engines it is, from 0."""

    @property
    def key(self) -> str:
        """Equal for equal specs; short and stable, fit for logs, metrics and dict keys."""
        return f"{self.group}#{self.replica + 1}" if self.replica else self.group

    @property
    def group(self) -> str:
        """The key that it shares with its replicas: the first one's."""
        rest: list[Any] = [self.source, self.revision, self.file, self.task, self.args]
        rest += [] if self.thinking is None else [self.thinking]
        rest += [["projector", self.projector]] if self.projector else []
        rest += [["images", self.images]] if self.images else []
        rest += [["adapters", *(each.name for each in self.adapters)]] if self.adapters else []
        digest = hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode())
        name = self.source.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
        return f"{self.kind}:{name}:{digest.hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSource:
    """An adapter's files, as an EngineSpec has its weights'."""

    source: str
    """The hub's owner/name, or an absolute path."""
    revision: str | None = None
    kind: Literal["adapter"] = "adapter"
    file: None = None
    projector: None = None

    @classmethod
    def of(cls, adapter: Adapter) -> "AdapterSource":
        return cls(source=adapter.origin, revision=adapter.revision)


Source: TypeAlias = EngineSpec | AdapterSource
"""What has files of its own, on this disk or to be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money per one million tokens, in integer micro-units of the registry's currency."""

    input: int = 0
    cached_input: int = 0
    output: int = 0

    def at(self, rate: int) -> "Price":
        """The same in a currency of which one unit of ours is `rate` micro-units; each of the
        three rounded half up to a micro-unit."""
        input, cached, output = (
            (price * rate + 500_000) // 1_000_000
            for price in (self.input, self.cached_input, self.output)
        )
        return Price(input=input, cached_input=cached, output=output)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtBounds:
    """How many tokens a model's thoughts may have, their marks aside."""

    budgets: Mapping[str, int] = field(default_factory=dict)
    """By the effort."""
    default: int | None = None
    """Where a request says nothing of it; None: `most`."""
    most: int | None = None
    """Of any request; None: no bound."""

    @property
    def named(self) -> dict[str, int]:
        """Each by its effort, or by `default` and `most`."""
        own = {"default": self.default, "most": self.most}
        return {**self.budgets, **{name: n for name, n in own.items() if n is not None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One alias, the chosen profile applied."""

    alias: str
    also_known_as: tuple[str, ...] = ()
    """Other names, and beginnings of names (`prefix-*`), that it is asked for by."""
    engine: EngineSpec
    adapter: Adapter | None = None
    """What is laid over the engine's weights."""
    base: str = ""
    """With an adapter: the alias whose engine it is laid over."""
    context_tokens: int
    """Input and output together."""
    output_tokens: int
    """The most one choice may generate."""
    price: Price = Price()
    load: Load = "demand"
    is_pinned: bool = False
    """It never makes room for another."""
    keep_s: float | None = None
    """How long it stays when nobody uses it; None: until another needs its memory."""
    start_timeout_s: float | None = None
    """How long its engine may take to start; None: as the server says."""
    nodes: tuple[str, ...] = ()
    """The nodes of the site whose engines serve it; empty: each has its own."""
    peers: tuple[str, ...] = ()
    """Those of them that this node asks, which has none; empty: it has."""
    replicas: int = 1
    """How many equal engines serve it, MOST_REPLICAS at most."""
    owners: frozenset[str] = frozenset()
    """Whose keys alone know of it; empty: everybody's."""
    shares_prefix_cache: bool = False
    """Whether a prompt's cached beginning is found by requests of other owners, too."""
    shared_prompts: tuple[str, ...] = ()
    """System prompts of which it is in any case."""
    created: int = 1700000000
    reasoning: Reasoning | None = None
    reasoning_efforts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """reasoning_effort value -> chat_template_kwargs it stands for."""
    thought_bounds: ThoughtBounds = ThoughtBounds()
    tool_parser: str | None = None
    """None: found from the model; "none": tools have no effect."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    free_chat_template_kwargs: tuple[str, ...] = ()
    """Those of them that a request may set otherwise."""
    system_prompt: str | None = None
    """Put first where a request brings no system message."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Wire defaults that differ from the contract's (temperature, max_tokens, top_p, ...)."""
    dimensions: tuple[int, ...] | Literal["any"] = ()
    """embed: allowed shortened vector lengths (Matryoshka); empty: none."""
    images: int = 0
    """The most pictures of one request; 0: it reads text only."""

    @property
    def most_images(self) -> int:
        """As `images`, on the engine that it has: without a projector llama.cpp reads text only."""
        is_blind = self.engine.kind == "llamacpp" and self.engine.projector is None
        return 0 if is_blind else self.images

    def on_node(self, name: str) -> "ModelSpec":
        """As the node of that name serves it."""
        return self if not self.nodes or name in self.nodes else replace(self, peers=self.nodes)

    def peer_engine(self, replica: int) -> EngineSpec:
        """One of `peers`, as an engine of this node."""
        args = {"nodes": list(self.peers)}
        return EngineSpec(
            kind="peer", source=self.alias, task=self.engine.task, args=args, replica=replica
        )

    @property
    def preload(self) -> bool:
        """Whether it is loaded at the start."""
        return self.load == "start"

    @property
    def weights(self) -> str:
        """What answers, for its records."""
        own = self.engine.source
        return own if self.adapter is None else f"{own}+{self.adapter.origin}"

    def is_known_to(self, words: Set[str]) -> bool:
        """Whether an owner knows of it, who is known by any of `words`: a name, an id."""
        return not self.owners or bool(self.owners & words)

    @property
    def efforts(self) -> tuple[str, ...]:
        """Those that a request may ask for."""
        return tuple({**self.reasoning_efforts, **self.thought_bounds.budgets})

    @property
    def call_parser(self) -> str | None:
        """A request's `tool_parser`. A scripted model has nothing to find one from."""
        if self.tool_parser is None:
            return None if self.engine.kind == "scripted" else FOUND
        return None if self.tool_parser == NO_TOOLS else self.tool_parser
