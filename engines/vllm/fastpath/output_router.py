"""Every message's outputs on their way to the streams: short where possible."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from engines.vllm.fastpath.gathered import GatheredStream
from engines.vllm.fastpath.stream import DirectStream
from engines.vllm.fastpath.text import TextMakers

FastStream: TypeAlias = DirectStream | GatheredStream


def can_route(llm: Any) -> bool:
    """Not where vLLM must see every output itself: its own statistics, traces, log lines, or
    outputs held back."""
    processor = llm.output_processor
    sees_all = processor.log_stats or processor.tracing_enabled or llm.log_requests
    return not sees_all and processor.stream_interval == 1


class OutputRouter:
    """Adds streams to one AsyncLLM and stands before its output processor, whose
    `process_outputs(outputs, …)` vLLM calls with every message's outputs: one a request, each with
    `request_id`, `new_token_ids` and `finish_reason`. Belongs to the event loop."""

    def __init__(self, llm: Any, texts: TextMakers) -> None:
        """Raises AttributeError where vLLM lacks one of the names."""
        self.tokens = 0
        """That no task was woken for, so far."""
        self.texts = texts
        self._llm = llm
        self._processor = llm.output_processor
        self._process = self._processor.process_outputs
        self._states = self._processor.request_states
        self._register = self._processor.add_request
        self._finish = self._processor._finish_request
        self._start_handler = llm._run_output_handler
        self._send = llm.engine_core.add_request_async
        self._abort = llm.abort
        self._admit = getattr(llm, "check_admission", None)  # came after 0.26
        self._streams: dict[str, FastStream] = {}

    def attach(self) -> None:
        """From now on vLLM calls `process_outputs` of this one, and tokens count."""
        self.tokens = 0
        self._processor.process_outputs = self.process_outputs

    def detach(self) -> None:
        """From now on vLLM calls its own again."""
        self._processor.process_outputs = self._process

    async def add(self, request: Any, stream: FastStream) -> None:
        """As AsyncLLM.add_request goes on with an EngineCoreRequest; its outputs are `stream`'s.
        Raises what that raises, and leaves nothing of it then."""
        if self._admit is not None:
            self._admit(request_id=stream.request_id)
        self._start_handler()  # idempotent
        try:
            self.register(request, stream)
            await self._send(request)
        except BaseException:
            self.end(stream.request_id)
            await self._abort(stream.request_id, internal=True)
            raise

    def register(self, request: Any, stream: FastStream) -> None:
        """Its outputs are `stream`'s from now on."""
        self._register(request, None, None, 0, stream)
        state = self._states[stream.request_id]
        prompt_ids = request.prompt_token_ids or ()
        stream.begin(self.texts.begin(state.detokenizer, prompt_ids), state)
        self._streams[stream.request_id] = stream

    def end(self, request_id: str) -> None:
        """The request is over; idempotent."""
        self._streams.pop(request_id, None)

    def process_outputs(self, outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """In vLLM's place; returns what vLLM's own returns."""
        rest, stream_of = [], self._streams.get
        for output in outputs:
            stream = stream_of(output.request_id)
            if stream is None:
                rest.append(output)
            elif stream.take(output):
                self.tokens += len(output.new_token_ids)
            elif output.finish_reason is not None:
                self._forget(output.request_id)
        return self._process(rest, *args, **kwargs)

    def _forget(self, request_id: str) -> None:
        state = self._states.get(request_id)
        if state is not None:
            self._finish(state)
