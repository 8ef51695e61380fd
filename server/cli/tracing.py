"""`fjord serve --otlp-endpoint`: traces, where they are asked for; nothing of them else."""

import os

from server.refusal import CannotStart
from server.tracing.address import CollectorAddress
from server.tracing.facts import Traces

_OF_ENGINES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
"""Each process of vLLM that finds it exports on its own, over gRPC if nothing else is said."""


def traces_to(address: CollectorAddress | None, node: str) -> Traces | None:
    """Raises CannotStart."""
    os.environ.pop(_OF_ENGINES, None)
    if address is None:
        return None
    try:
        from server.tracing.start import trace_export
    except ImportError as error:
        raise CannotStart(
            f"{address.named_by} needs the package opentelemetry-sdk, and {error.name} is not here."
        ) from None
    return trace_export(address, node)
