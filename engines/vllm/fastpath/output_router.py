"""Every message's outputs on their way to the streams: short where possible."""

from collections.abc import Sequence
from typing import Any

from engines.vllm.fastpath.request_copies import RequestCopies
from engines.vllm.fastpath.stream import DirectStream
from engines.vllm.fastpath.text import TextMakers
from engines.vllm.vocabulary import Vocabulary


def can_route(llm: Any) -> bool:
    """Not where vLLM must see every output itself: its own statistics, traces, log lines, or
    outputs held back."""
    processor = llm.output_processor
    sees_all = processor.log_stats or processor.tracing_enabled or llm.log_requests
    return not sees_all and processor.stream_interval == 1 and hasattr(processor, "_finish_request")


class OutputRouter:
    """Adds streams to one AsyncLLM and stands before its output processor, whose
    `process_outputs(outputs, …)` vLLM calls with every message's outputs: one a request, each with
    `request_id`, `new_token_ids` and `finish_reason`. Belongs to the event loop."""

    def __init__(self, llm: Any, vocabulary: Vocabulary) -> None:
        self.tokens = 0
        """That no task was woken for, so far."""
        self.requests = RequestCopies(llm)
        self._llm = llm
        self._texts = TextMakers(vocabulary)
        self._processor = llm.output_processor
        self._process = self._processor.process_outputs
        self._admit = getattr(llm, "check_admission", None)  # came after 0.26
        self._lanes: dict[str, DirectStream] = {}
        self._processor.process_outputs = self.process_outputs

    async def add(self, request: Any, lane: DirectStream) -> None:
        """As AsyncLLM.add_request goes on with an EngineCoreRequest; its outputs are `lane`'s.
        Raises what that raises."""
        llm, processor, name = self._llm, self._processor, lane.request_id
        if self._admit is not None:
            self._admit(request_id=name)
        llm._run_output_handler()  # idempotent
        processor.add_request(request, None, None, 0, lane)
        detokenizer = processor.request_states[name].detokenizer
        lane.begin(self._texts.begin(detokenizer, request.prompt_token_ids or ()))
        self._lanes[name] = lane
        try:
            await llm.engine_core.add_request_async(request)
        except BaseException:
            self.end(name)
            await llm.abort(name, internal=True)
            raise

    def end(self, request_id: str) -> None:
        """The request is over; idempotent."""
        self._lanes.pop(request_id, None)

    def process_outputs(self, outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """In vLLM's place; returns what vLLM's own returns."""
        rest, lane_of = [], self._lanes.get
        for output in outputs:
            lane = lane_of(output.request_id)
            if lane is None:
                rest.append(output)
                continue
            if lane.take(output):
                self.tokens += len(output.new_token_ids)
            elif output.finish_reason is not None:
                self._forget(output.request_id)
        return self._process(rest, *args, **kwargs)

    def _forget(self, request_id: str) -> None:
        state = self._processor.request_states.get(request_id)
        if state is not None:
            self._processor._finish_request(state)
