"""A GGUF model that a process of its own serves, its tokenizer and its chat template. Everything
here blocks."""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engines.answers.model_tools import ModelTools
from engines.base import (
    ContextLengthExceeded,
    Embedding,
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    Truncation,
)
from engines.host.interpreter_turns import give_way
from engines.host.library import whole_library
from engines.host.private_folder import PrivateFolder
from engines.host.quiet_import import link_shared, without_collections
from engines.inputs import encodable, input_at
from engines.llamacpp.adapter_trials import started
from engines.llamacpp.adapters import LlamacppAdapters
from engines.llamacpp.args import SOCKET, check_goes_with_adapters, common_params, long_prompts
from engines.llamacpp.cache_room import CacheRoom
from engines.llamacpp.chat_template import ChatTemplate
from engines.llamacpp.form_trial import FormTrial
from engines.llamacpp.gguf_metadata import GgufMetadata
from engines.llamacpp.grammar import GrammarMaker
from engines.llamacpp.http_client import HttpClient
from engines.llamacpp.llguidance import grammar_complaint
from engines.llamacpp.picture_prompts import PicturePrompts
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.reranking import Reranker
from engines.llamacpp.server_process import ServerProcess
from engines.llamacpp.text_pieces import TextPieces
from engines.llamacpp.tools import MARKS
from engines.registry.spec import POOLING, EngineSpec
from engines.text_bound import TextBound
from engines.truncation import FIELD, NO_ENDS, TextEnds


class LlamacppModel:
    """Raises EngineUnavailable."""

    def __init__(
        self,
        spec: EngineSpec,
        path: Path,
        begun: Callable[[ServerProcess], None] = lambda process: None,
        places: Mapping[str, Path] | None = None,
    ) -> None:
        """`begun` is given its process before that loads; `places`: its adapters', by name."""
        xllamacpp = _xllamacpp()
        metadata = GgufMetadata(path, spec.task)
        ranks = metadata.ranks
        params = common_params(xllamacpp, path, spec.args, metadata.trained_tokens, spec.task)
        self.long_prompt_tokens = long_prompts(spec.args)
        self._first_text = metadata.first_text
        self._template = metadata.template
        self._template_name = path.name
        self._known_ids: dict[str, int | None] = {}
        self._pieces = TextPieces(metadata.special_texts)
        self._forms: FormTrial | None = None
        self._process: ServerProcess | None = None
        # Windows' Python knows no Unix sockets
        self._folder = None if sys.platform == "win32" else PrivateFolder()
        room = self._folder.path if self._folder else None
        with tempfile.TemporaryDirectory(dir=room, ignore_cleanup_errors=True) as made:
            self.adapters = LlamacppAdapters(spec.adapters, places or {}, path, Path(made))
            if self.adapters.names:
                check_goes_with_adapters(params)
            asked = self._asked(spec, path, metadata.trained_tokens)
            sizes = self._loaded(asked, begun)
        self.context_tokens: int = sizes["n_ctx"]
        self._text_bound = TextBound(self.context_tokens, metadata.longest_token_bytes)
        extension = xllamacpp.xllamacpp.__file__
        self._forms = forms = FormTrial(extension, grammar_complaint(extension))
        if spec.task not in POOLING:
            forms.warm()
        self.grammars = GrammarMaker(forms, self._has_token, metadata.end_id)
        self.tools = ModelTools(
            metadata.template_source, self._has_token, MARKS, metadata.hidden_texts
        )
        self.slot_count: int = params.n_parallel
        self.step_tokens: int = params.n_batch
        if self.server.has_card and self.long_prompt_tokens is None:
            self.long_prompt_tokens = self.step_tokens  # it reads few tokens as long as many
        self.recent_prompts = RecentPrompts(self.slot_count)
        self.vocabulary: int = sizes["n_vocab"]
        self.cells = self.context_tokens if params.kv_unified else sys.maxsize
        """Shared by all slots; without kv_unified each slot has its own."""
        try:
            self.reranker = None if ranks is None else Reranker(self, ranks)
            self.pictures = self._pictures() if spec.projector else None
            self.room = CacheRoom(self._http, self.cells)
        except Exception:
            self.close()
            raise

    def _asked(self, spec: EngineSpec, path: Path, trained_tokens: int | None) -> dict[str, Any]:
        """What its process is started with."""
        return {
            "path": str(path),
            "args": dict(spec.args),
            "trained_tokens": trained_tokens,
            "task": spec.task,
            "projector": str(path.parent / spec.projector) if spec.projector else "",
            "folder": str(self._folder.path) if self._folder else "",
        }

    def _loaded(
        self, asked: Mapping[str, Any], begun: Callable[[ServerProcess], None]
    ) -> Mapping[str, int]:
        """The sizes that llama.cpp tells of it once it serves."""

        def start(adapters: Sequence[str]) -> Mapping[str, int]:
            self._end()
            self._process = process = ServerProcess({**asked, "adapters": adapters})
            begun(process)
            process.load()
            self._http = HttpClient(process.listening_address, process.key)
            return self._http.sizes()

        try:
            return started(self.adapters, start)
        except Exception as error:
            self.close()
            raise EngineUnavailable(f"llama.cpp cannot load {asked['path']}: {error}") from error

    def _pictures(self) -> PicturePrompts:
        return PicturePrompts(self._http, self._ends, self._first_text)

    def _has_token(self, text: str) -> bool:
        return self.token_id(text) is not None

    def close(self) -> None:
        """Free the model; returns when llama.cpp's process is gone."""
        self.end_trials()
        self._end()
        if self._folder is not None:
            self._folder.remove()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        if self._folder is not None:  # the next one could not listen there
            (self._folder.path / SOCKET).unlink(missing_ok=True)

    @property
    def server(self) -> ServerProcess:
        assert self._process is not None
        return self._process

    def end_trials(self) -> None:
        """Who has a form compiled waits no longer. Idempotent."""
        if self._forms is not None:
            self._forms.close()

    def chat_template(self) -> ChatTemplate:
        if self._template is None:
            raise InvalidRequest(
                f"{self._template_name} has no chat template; use completions.", "messages"
            )
        return self._template

    def reading_slot(self, seed: int) -> int | None:
        """The id of the slot that works at the call with this seed."""
        return self._http.slot_of(seed)

    def tokenize(
        self,
        text: str,
        *,
        adds_special: bool,
        is_cut: bool = False,
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """Raises ContextLengthExceeded where so long a text cannot fit and will not be cut,
        InvalidRequest where one that will be is too long to be read; a given-up one ends in an
        EngineError between two pieces."""

        def tokens_of(piece: str) -> list[int]:
            if is_given_up():
                raise EngineError("The request was given up while its prompt was tokenised.")
            give_way()
            return self._http.tokenize(piece, adds_special=False)

        self._check_bound(text, is_cut, lambda piece: len(tokens_of(piece)))
        pieces = list(self._pieces.of(text))
        if len(pieces) == 1:
            return self._http.tokenize(text, adds_special=adds_special)
        ends = self._ends if adds_special else NO_ENDS
        ids = list(ends.first)
        for piece in pieces:
            ids += tokens_of(piece)
        return [*ids, *ends.last]

    def _check_bound(self, text: str, is_cut: bool, count: Callable[[str], int]) -> None:
        if is_cut:
            self._text_bound.check_read([text], count, FIELD)
        else:
            self._text_bound.check_characters(len(text))
            self._text_bound.check_tokens([text], count)

    @functools.cached_property
    def _ends(self) -> TextEnds:
        """What begins and ends a text: seen around a letter."""
        bare = self._http.tokenize("a", adds_special=False)
        marked = self._http.tokenize("a", adds_special=True)
        return TextEnds.around(marked, bare)

    def token_id(self, text: str) -> int | None:
        """The id of a text that is one token, such as a think tag."""
        if text not in self._known_ids:
            ids = self.tokenize(text, adds_special=False)
            self._known_ids[text] = ids[0] if len(ids) == 1 else None
        return self._known_ids[text]

    def checked_ids(self, ids: Sequence[int]) -> list[int]:
        if unknown := [i for i in ids if not 0 <= i < self.vocabulary]:
            raise InvalidRequest(
                f"Token {unknown[0]} is not the model's; it has 0 to {self.vocabulary - 1}.",
                "prompt",
                f"token ids from 0 to {self.vocabulary - 1}",
                unknown[0],
            )
        return list(ids)

    def _kept(
        self, x: str | Sequence[int], cut: Truncation, gave_up: Callable[[], bool]
    ) -> list[int]:
        """What a truncation leaves of an input; the tokens that mark a text's ends stay."""
        if not isinstance(x, str):
            return list(cut.kept(self.checked_ids(x), self.context_tokens))
        text = encodable(x, "input")
        ids = self.tokenize(text, adds_special=True, is_cut=True, is_given_up=gave_up)
        return list(cut.kept(ids, self.context_tokens, self._ends))

    def input_ids(
        self,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None,
        is_given_up: Callable[[], bool],
    ) -> list[list[int]]:
        """The tokens of what is to be embedded. Raises InvalidRequest, ContextLengthExceeded."""
        ids = []
        for index, x in enumerate(inputs):
            with input_at(index):
                ids.append(self._input_ids(x, truncation, is_given_up))
                self._check_length(len(ids[-1]))
        return ids

    def _input_ids(
        self, x: str | Sequence[int], truncation: Truncation | None, gave_up: Callable[[], bool]
    ) -> list[int]:
        if truncation is not None:
            return self._kept(x, truncation, gave_up)
        if isinstance(x, str):
            text = encodable(x, "input")
            return self.tokenize(text, adds_special=True, is_given_up=gave_up)
        return self.checked_ids(x)

    def embed(self, ids: Sequence[list[int]]) -> list[Embedding]:
        """The model's own pooling and, where it is one, L2 normalisation."""
        body = msgspec.json.encode({"input": ids, "encoding_format": "float"})
        answer = msgspec.json.decode(self.server.handle_embeddings(body))
        if "data" not in answer:
            raise RuntimeError(f"llama.cpp failed to embed: {answer}")
        vectors = {entry["index"]: entry["embedding"] for entry in answer["data"]}
        return [Embedding(vector=vectors[i], prompt_tokens=len(t)) for i, t in enumerate(ids)]

    def ranked(self, body: bytes) -> bytes:
        """llama.cpp's answer to a request of its own form."""
        return self.server.handle_rerank(body)

    def _check_length(self, count: int) -> None:
        if count > self.context_tokens:
            raise ContextLengthExceeded(count, None, self.context_tokens)
        if count == 0:
            raise InvalidRequest("An input has no tokens.", "input", "a text with tokens")


def _xllamacpp() -> Any:
    # llama.cpp's two threads meet some 300 times a token. libgomp lets the first one spin, which on
    # a machine with other work takes the CPU from the one it waits for. Tokens/s at 1, 8 and 32
    # streams, SmolLM2 on 2 cores, in alternating runs: quiet, with 10000 spins 136, 178, 165; with
    # 1000 133, 180, 165; with none 50, 141, 157. Beside busy processes (load 5): libgomp's default
    # 12, 20, 42; 10000 7, 31, 44; 1000 30, 85, 101; none 65, 87, 71. It is read on import.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    with whole_library("xllamacpp"), without_collections("xllamacpp"):
        link_shared("xllamacpp", (("xllamacpp.abi3.so", os.RTLD_LOCAL),))
        import xllamacpp
    return xllamacpp
