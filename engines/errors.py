"""What an engine raises.

EngineError
├── InvalidRequest            the request cannot be honoured; names the wire field
│   └── ContextLengthExceeded prompt, or prompt plus max_tokens, does not fit
├── EngineOverloaded          the engine's own queue is full
├── EngineUnavailable         no engine can serve this model now, and why
│   ├── EngineBroken          nor ever can here
│   │   └── EngineNeverFits   because this machine cannot hold it
│   ├── EngineNotLoaded       until an operator acts
│   └── EngineLoadTimeout     it did not become ready in time
├── RequestKillsEngines      several engines ended under this request; it gets no other
├── EngineDead                its process or thread is gone; never recovers
│   └── EngineBehindDead      of several behind it, one is gone; it serves on
└── EngineHung                it is there and does not answer
"""

from collections.abc import Mapping


class EngineError(Exception):
    """What an engine raises; everything else out of an engine is a bug of ours."""


class InvalidRequest(EngineError):
    """The request itself cannot be honoured. `param` is the wire field's name; `expected` what it
    would take, in a few words, `provided` what it took offence at (None: the field as it came)."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        expected: str | None = None,
        provided: str | int | float | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.expected = expected
        self.provided = provided
        self.input_index: int | None = None
        """Of several inputs of one request, whose it is."""


class ContextLengthExceeded(InvalidRequest):
    """The prompt alone, or with an explicit max_tokens, is longer than the context (tokens).
    `characters`: it was not tokenised, since so many can be no fewer than `prompt_tokens`. The
    words are OpenAI's: clients that make room by themselves know the case by them."""

    def __init__(
        self,
        prompt_tokens: int,
        max_tokens: int | None,
        context_tokens: int,
        *,
        characters: int | None = None,
        what: str = "the prompt",
    ) -> None:
        """`what` is too long, in the client's words."""
        size = f"{what} resulted in {prompt_tokens} tokens"
        if characters is not None:
            size = f"{what} has {characters} characters, at least {prompt_tokens} tokens"
        if max_tokens is not None:
            size = f"{size}, which leave no room for max_tokens {max_tokens}"
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens; {size}.",
            "messages" if max_tokens is None else "max_tokens",
        )
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens
        self.context_tokens = context_tokens
        self.characters = characters


class EngineOverloaded(EngineError):
    """The engine's queue is full; asking again after `retry_after_s` seconds is sensible. `facts`:
    of the queue, fit for a client."""

    def __init__(
        self,
        message: str,
        retry_after_s: float = 1.0,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.facts = facts


class EngineUnavailable(EngineError):
    """No engine can serve the model now; the message says why, in words fit for a client."""

    def __init__(self, message: str, retry_after_s: float = 10.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineBroken(EngineUnavailable):
    """The engine can never start here (its library cannot be imported)."""


class EngineNotLoaded(EngineUnavailable):
    """No request can have this model loaded until an operator acts: the registry says so, or
    pinned models hold the memory it needs. The message says which."""


class EngineLoadTimeout(EngineUnavailable):
    """The model did not become ready within the time a request waits for it. `facts`: state,
    percent, position and eta_s, fit for a client."""

    def __init__(
        self,
        message: str,
        retry_after_s: float = 10.0,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> None:
        super().__init__(message, retry_after_s)
        self.facts = facts or {}


class EngineNeverFits(EngineBroken):
    """This machine cannot hold the model; the message has the numbers, fit for a client."""


class EngineDead(EngineError):
    """The engine's process or thread is gone. This object never recovers; build a new one."""


class EngineBehindDead(EngineDead):
    """Of the engines that another server has, the one that this request ran on; others run on."""


class RequestKillsEngines(EngineError):
    """`engines` of them died or hung while this one request ran on each."""

    def __init__(self, engines: int) -> None:
        super().__init__(
            f"The model's engine failed {engines} times while this request ran on it; "
            "the request is not tried again."
        )


class EngineHung(EngineError):
    """The engine did not answer a liveness question in time."""
