"""What llama.cpp's completion callback hands over, one JSON text a token, as typed structs."""

import msgspec

from engines.base import TokenLogprob


class Logprob(msgspec.Struct, gc=False):
    token: str
    bytes: tuple[int, ...]
    logprob: float
    top_logprobs: tuple["Logprob", ...] = ()

    def public(self, count: int) -> TokenLogprob:
        return TokenLogprob(
            token=self.token,
            logprob=self.logprob,
            bytes=self.bytes,
            top=tuple(t.public(0) for t in self.top_logprobs[:count]),
        )


class Logprobs(msgspec.Struct, gc=False):
    content: tuple[Logprob, ...] = ()


class ChoicePiece(msgspec.Struct, gc=False):
    text: str
    index: int = 0
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Timings(msgspec.Struct, gc=False):
    predicted_n: int = 0
    cache_n: int = 0


class PromptProgress(msgspec.Struct, gc=False):
    """How much of a prompt is read. The first one of a call tells what the cache held of it."""

    total: int
    cache: int
    processed: int


class Verbose(msgspec.Struct, gc=False):
    tokens: tuple[int, ...] = ()


class Failure(msgspec.Struct, gc=False):
    message: str
    code: int = 500
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Chunk(msgspec.Struct, gc=False):
    """One callback. `timings.predicted_n` counts the tokens so far, held back ones included:
    llama.cpp makes no chunk for a token that ends inside a character."""

    choices: tuple[ChoicePiece, ...] = ()
    timings: Timings | None = None
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")
    error: Failure | None = None
    prompt_progress: PromptProgress | None = None


DECODER = msgspec.json.Decoder(Chunk)
