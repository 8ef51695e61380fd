"""The parts of the fast path that proved themselves on one engine, and a request's way."""

import contextlib
from typing import Any

from engines.base import GenerateRequest, Sink
from engines.vllm.fastpath.gathered import GatheredStream
from engines.vllm.fastpath.left_out import leave_out
from engines.vllm.fastpath.output_router import FastStream, OutputRouter
from engines.vllm.fastpath.request_copies import RequestCopies
from engines.vllm.fastpath.stream import DirectStream
from engines.vllm.submission import Submission


class FastPath:
    """One AsyncLLM's. Belongs to the event loop."""

    def __init__(self, requests: RequestCopies, router: OutputRouter) -> None:
        self.requests = requests
        self.router = router
        self._has_warned = False

    @property
    def tokens(self) -> int:
        """That no task was woken for, so far."""
        return self.router.tokens

    async def submit(self, submission: Submission, sink: Sink | None) -> FastStream | None:
        """None: this one goes the public way; without `sink` the answer comes whole. Raises what
        vLLM raises against the request."""
        try:
            return await self._submitted(submission, sink)
        except (AttributeError, ImportError, TypeError) as error:
            if not self._has_warned:
                self._has_warned = True
                leave_out("a direct stream", error)
            return None

    async def _submitted(self, submission: Submission, sink: Sink | None) -> FastStream:
        core_request = await self.requests.make(
            submission.request,
            submission.prompt,
            submission.sampling_params,
            is_plain=submission.structure is None,
            skips_special_tokens=submission.skips_special_tokens,
            adapter=submission.adapter,
            thinking_tokens=submission.thinking_tokens,
        )
        core_request.reasoning_ended = submission.reasoning_ended
        stream = _stream(core_request.request_id, submission, sink)
        await self.router.add(core_request, stream)
        return stream

    def end(self, request_id: str) -> None:
        """The request is over; idempotent."""
        self.router.end(request_id)


def _stream(name: str, submission: Submission, sink: Sink | None) -> FastStream:
    if sink is None or not submission.request.stream:
        return GatheredStream(name, submission.choices)
    return DirectStream(name, submission.choices, sink)


def may_go_fast(request: GenerateRequest, *, has_sink: bool) -> bool:
    """Whether its tokens need no more than their text: a stop string is looked for at each, and a
    log probability comes with each. A stream's also need somebody who takes them."""
    sampling = request.sampling
    if sampling.prompt_logprobs is not None or sampling.logprobs is not None:
        return False
    return sampling.n == 1 and not sampling.stop and (has_sink or not request.stream)


def remember_end_token(llm: Any) -> None:
    """vLLM asks the tokenizer with every request: 30 µs of attribute look-ups."""
    with contextlib.suppress(AttributeError):
        end = llm.renderer.get_eos_token_id()
        llm.renderer.get_eos_token_id = lambda: end
