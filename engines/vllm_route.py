"""Every message's outputs on their way to the streams: short where possible."""

from collections.abc import Sequence
from typing import Any

from engines.vllm_lane import Lane


class Router:
    """Stands before one AsyncLLM's output processor, whose `process_outputs(outputs, …)` vLLM calls
    with every message's outputs: one a request, each with `request_id`, `new_token_ids` and
    `finish_reason`. Belongs to the event loop."""

    def __init__(self, processor: Any) -> None:
        self.tokens = 0
        """That went the short way, so far."""
        self._process = processor.process_outputs
        self._lanes: dict[str, Lane] = {}
        processor.process_outputs = self.process_outputs

    def begin(self, request_id: str, lane: Lane) -> None:
        """A request that was just added may go short."""
        self._lanes[request_id] = lane

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
            elif not lane.is_begun:
                lane.is_begun = True
                rest.append(output)
            elif output.finish_reason is None and lane.take(output.new_token_ids):
                self.tokens += len(output.new_token_ids)
            else:
                rest.append(output)
        return self._process(rest, *args, **kwargs)
