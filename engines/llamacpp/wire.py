"""What llama.cpp's own completions (/completion) stream, one JSON text a token, typed."""

import msgspec

from engines.base import FinishReason, TokenLogprob


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


class PromptProgress(msgspec.Struct, gc=False):
    """How much of a prompt is read. The first one of a call tells what the cache held of it."""

    total: int
    cache: int
    processed: int


class Failure(msgspec.Struct, gc=False):
    message: str
    code: int = 500
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Chunk(msgspec.Struct, gc=False):
    """One event of a choice. `predicted` counts the tokens so far, held back ones included:
    llama.cpp makes no chunk for a token that ends inside a character."""

    index: int = 0
    text: str = msgspec.field(default="", name="content")
    tokens: tuple[int, ...] = ()
    """Where they are asked for."""
    is_last: bool = msgspec.field(default=False, name="stop")
    stop_type: str = "none"
    logprobs: tuple[Logprob, ...] = msgspec.field(default=(), name="completion_probabilities")
    predicted: int = msgspec.field(name="tokens_predicted", default=0)
    error: Failure | None = None
    prompt_progress: PromptProgress | None = None

    @property
    def finish_reason(self) -> FinishReason | None:
        if not self.is_last:
            return None
        return "stop" if self.stop_type in ("eos", "word") else "length"


LAST_FIELDS = ("index", "content", "tokens", "stop", "stop_type", "tokens_predicted")
"""Of a choice's last chunk, which would repeat the prompt and every setting."""
LAST = b'"stop":true'
"""In a choice's last chunk alone: within a text its quotes are escaped."""
DECODER = msgspec.json.Decoder(Chunk)
