"""llguidance as it is compiled into llama.cpp: asked whether it takes a grammar.

llama.cpp only logs a grammar that it cannot compile, and then generates freely. The Python package
llguidance is another version with other formats and keywords, so the one that runs is asked, over
its own C interface. Where a build does not show that interface, the package answers instead.
"""

import ctypes
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Complaint: TypeAlias = Callable[[str, Sequence[str]], str | None]
"""(grammar, special tokens it may name) -> why it cannot be compiled; None: it can."""

_GOOD, _BAD = "%llguidance {}\nstart: /[a-z]/\n", "%llguidance {}\nstart: nothing\n"
_POINTER, _TEXT = ctypes.c_void_p, ctypes.c_char_p
_END = b"\xff<|end|>"
_SPECIAL = b"\xff"
"""Marks a special token in llguidance's vocabularies."""


class _TokenizerInit(ctypes.Structure):
    """LlgTokenizerInit of llguidance.h; later versions only add fields at its end."""

    _fields_ = (
        ("vocab_size", ctypes.c_uint32),
        ("tok_eos", ctypes.c_uint32),
        ("token_lens", ctypes.c_void_p),
        ("token_bytes", ctypes.c_char_p),
        ("tokenizer_json", ctypes.c_char_p),
        ("tokenize_assumes_string", ctypes.c_bool),
        ("tokenize_fn", ctypes.c_void_p),
        ("use_approximate_greedy_tokenize_fn", ctypes.c_bool),
        ("tokenize_user_data", ctypes.c_void_p),
        ("slices", ctypes.c_void_p),
        ("later_fields", ctypes.c_void_p * 32),
    )


class CompiledIn:
    """The library inside an extension module. Raises OSError or AttributeError where it hides."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self._new_tokenizer = _function(
            library.llg_new_tokenizer, _POINTER, _POINTER, _POINTER, ctypes.c_size_t
        )
        self._free_tokenizer = _function(library.llg_free_tokenizer, None, _POINTER)
        self._set_defaults = _function(
            library.llg_constraint_init_set_defaults, None, _POINTER, _POINTER
        )
        self._new_matcher = _function(library.llg_new_matcher, _POINTER, _POINTER, _TEXT, _TEXT)
        self._free_matcher = _function(library.llg_free_matcher, None, _POINTER)
        self._error = _function(library.llg_matcher_get_error, _TEXT, _POINTER)

    def complaint(self, grammar: str, special_tokens: Sequence[str] = ()) -> str | None:
        """Compiled for a vocabulary of single bytes: whether it can be does not depend on words."""
        tokenizer = self._tokenizer(special_tokens)
        options = ctypes.create_string_buffer(4096)
        self._set_defaults(options, tokenizer)
        matcher = self._new_matcher(options, b"lark", grammar.encode())
        try:
            error: bytes | None = self._error(matcher)
            return error.decode(errors="replace") if error else None
        finally:
            self._free_matcher(matcher)
            self._free_tokenizer(tokenizer)

    def _tokenizer(self, special_tokens: Sequence[str]) -> int:
        special = [_SPECIAL + token.encode() for token in special_tokens]
        tokens = [*(bytes([byte]) for byte in range(256)), _END, *special]
        lengths = (ctypes.c_uint32 * len(tokens))(*map(len, tokens))
        init = _TokenizerInit(
            vocab_size=len(tokens),
            tok_eos=tokens.index(_END),
            token_lens=ctypes.cast(lengths, ctypes.c_void_p),
            token_bytes=b"".join(tokens),
            tokenize_assumes_string=True,
            use_approximate_greedy_tokenize_fn=True,
        )
        error = ctypes.create_string_buffer(512)
        tokenizer: int | None = self._new_tokenizer(ctypes.addressof(init), error, len(error))
        if not tokenizer:
            raise OSError(error.value.decode(errors="replace"))
        return tokenizer


def grammar_complaint(extension_path: str) -> Complaint:
    """How to ask the llguidance of llama.cpp's extension module, proved on two grammars."""
    try:
        compiled_in = CompiledIn(extension_path)
        if compiled_in.complaint(_GOOD) is None and compiled_in.complaint(_BAD):
            return compiled_in.complaint
    except (OSError, AttributeError):
        pass
    return installed_complaint


def installed_complaint(grammar: str, special_tokens: Sequence[str] = ()) -> str | None:
    """The Python package's answer."""
    try:
        from llguidance import LLMatcher
    except ImportError:
        return "structured output needs the package llguidance on this engine; it is not installed"
    complaint: str = LLMatcher.validate_grammar(grammar)
    return complaint or None


def knows_format(complaint: Complaint, name: str) -> bool:
    """Whether strings can be held to a JSON schema's `format`."""
    schema = json.dumps({"type": "string", "format": name})
    return complaint(f"%llguidance {{}}\nstart: %json {schema}\n", ()) is None


def _function(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function
