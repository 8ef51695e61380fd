"""Whether a text is one that an engine's grammar lets through, asked of the libraries that run."""

import ctypes
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import xllamacpp

from engines.base import GenerateRequest, Structure
from engines.llamacpp.grammar import GrammarMaker
from engines.llamacpp.llguidance import CompiledIn
from engines.vllm.json_grammar import JsonGrammars, json_grammar
from engines.vllm.structured import GuidedCalls, form_of, structural_tag

Matcher: TypeAlias = Callable[[str], bool]
FIELD = "response_format"


def xgrammar_matcher(schema: Any) -> Matcher:
    """vLLM's. Raises InvalidRequest."""
    from xgrammar import Grammar  # takes seconds: torch comes with it

    return _accepting(Grammar.from_ebnf(json_grammar(schema, FIELD)))


def llguidance_matcher(schema: Any) -> Matcher:
    """llama.cpp's. Raises InvalidRequest."""
    library = _Matching(xllamacpp.xllamacpp.__file__)
    maker = GrammarMaker(library.complaint, lambda token: False)
    grammar = maker.of(Structure(kind="json_schema", value=schema), None, FIELD)
    return lambda text: library.accepts(grammar, text)


def spellings(value: Any) -> list[str]:
    """A value as JSON, with and without spaces."""
    tight = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return [tight, json.dumps(value, ensure_ascii=False)]


class _Matching(CompiledIn):
    """Matches texts, too."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        library = ctypes.CDLL(path)
        self._valid = library.llg_matcher_validate_tokens
        self._valid.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        self._consume = library.llg_matcher_consume_tokens
        self._consume.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        self._is_accepting = library.llg_matcher_is_accepting
        self._is_accepting.argtypes, self._is_accepting.restype = [ctypes.c_void_p], ctypes.c_bool

    def accepts(self, grammar: str, text: str) -> bool:
        tokenizer = self._tokenizer([])
        options = ctypes.create_string_buffer(4096)
        self._set_defaults(options, tokenizer)
        matcher = self._new_matcher(options, b"lark", grammar.encode())
        tokens = (ctypes.c_uint32 * len(text.encode()))(*text.encode())
        try:
            if self._valid(matcher, tokens, len(tokens)) < len(tokens):
                return False
            self._consume(matcher, tokens, len(tokens))
            return bool(self._is_accepting(matcher))
        finally:
            self._free_matcher(matcher)
            self._free_tokenizer(tokenizer)


def llguidance_calls_matcher(request: GenerateRequest) -> Matcher:
    """llama.cpp's, for calls of a model's own wish. Raises InvalidRequest."""
    library = _Matching(xllamacpp.xllamacpp.__file__)
    maker = GrammarMaker(library.complaint, lambda token: False)
    grammar = maker.of_request(request, is_guided=True)
    assert grammar is not None
    return lambda text: library.accepts(grammar, text)


def xgrammar_calls_matcher(request: GenerateRequest) -> Matcher:
    """vLLM's. Raises InvalidRequest."""
    form = form_of(request, JsonGrammars(), is_guided=True)
    assert isinstance(form, GuidedCalls)
    tag = structural_tag(form, request.reasoning, (None, None))
    from xgrammar import Grammar

    return _accepting(Grammar.from_structural_tag(tag))


def _accepting(grammar: Any) -> Matcher:
    from xgrammar.testing import _is_grammar_accept_string

    return lambda text: bool(_is_grammar_accept_string(grammar, text))
