"""CollectorAddress -> a TraceExport with what the SDK reads of its variables: who sends, and which
traces are taken."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import OTELResourceDetector
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import TracerProvider

from server import __version__
from server.tracing.address import CollectorAddress
from server.tracing.collector import Collector
from server.tracing.context import quiet
from server.tracing.export import TraceExport
from server.tracing.spans import SpanMaker
from server.tracing.wire import Value


def trace_export(address: CollectorAddress, node: str) -> TraceExport:
    """Not started yet. Raises CannotStart."""
    quiet()
    ours = {"service.name": "fjord", "service.version": __version__, "host.name": node}
    about = SdkResource.create({**ours, **OTELResourceDetector().detect().attributes})
    # Never the process' own provider, which others would add their spans to (vLLM's do).
    sampler = TracerProvider(shutdown_on_exit=False).sampler
    return TraceExport(Collector(address), SpanMaker(sampler), _simple(about.attributes))


def _simple(attributes: Mapping[str, Any]) -> Mapping[str, Value]:
    """Those of a detector may be of any kind."""
    return {
        name: v if isinstance(v, str | int | float) else str(v) for name, v in attributes.items()
    }
