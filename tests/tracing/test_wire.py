"""What is written by hand is what OpenTelemetry's own messages read, whatever the values."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from server.tracing import wire

TEXT = st.text(max_size=300)
VALUES = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=4).map(tuple),
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=6)
MOMENTS = st.integers(0, 2**64 - 1)
IDS = st.binary(min_size=8, max_size=8)


def message(value: wire.Value) -> Any:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[message(each) for each in value]))


def pairs(attributes: dict[str, wire.Value]) -> list[Any]:
    return [KeyValue(key=name, value=message(value)) for name, value in attributes.items()]


@given(
    ids=st.tuples(st.binary(min_size=16, max_size=16), IDS, st.just(b"") | IDS),
    name=TEXT,
    times=st.tuples(MOMENTS, MOMENTS),
    kind=st.sampled_from((wire.INTERNAL, wire.SERVER)),
    flags=st.integers(0, 2**32 - 1),
    state=st.text("abc=,", max_size=512),
    attributes=ATTRIBUTES,
    is_error=st.booleans(),
)
def test_a_span_is_read_as_it_was_meant(
    ids: tuple[bytes, bytes, bytes],
    name: str,
    times: tuple[int, int],
    kind: Any,
    flags: int,
    state: str,
    attributes: dict[str, wire.Value],
    is_error: bool,
) -> None:
    written = wire.span(
        *(*ids, name),
        began_ns=times[0],
        ended_ns=times[1],
        flags=flags,
        kind=kind,
        state=wire.trace_state(state),
        attributes=b"".join(wire.attribute(*each) for each in attributes.items()),
        is_error=is_error,
    )
    expected = Span(
        trace_id=ids[0],
        span_id=ids[1],
        parent_span_id=ids[2],
        trace_state=state,
        name=name,
        kind=kind,
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        flags=flags,
        attributes=pairs(attributes),
        status=Status(code=Status.STATUS_CODE_ERROR) if is_error else None,
    )
    assert list(ScopeSpans.FromString(written).spans) == [expected]


@given(about=ATTRIBUTES, version=TEXT, names=st.lists(TEXT, max_size=3))
def test_a_request_has_who_sends_and_all_spans(
    about: dict[str, wire.Value], version: str, names: list[str]
) -> None:
    spans = [
        wire.span(b"t" * 16, b"s" * 8, b"", name, began_ns=1, ended_ns=2, flags=0) for name in names
    ]
    read = ExportTraceServiceRequest.FromString(wire.request(about, version, spans))
    [resource] = read.resource_spans
    [scope] = resource.scope_spans
    assert list(resource.resource.attributes) == pairs(about)
    assert (scope.scope.name, scope.scope.version) == ("fjord", version)
    assert [span.name for span in scope.spans] == names


@given(name=TEXT, count=st.integers(0, 2**40), measure=st.floats(allow_nan=False))
def test_the_short_ways_write_the_same(name: str, count: int, measure: float) -> None:
    assert wire.count(name, count) == wire.attribute(name, count)
    assert wire.measure(name, measure) == wire.attribute(name, measure)


def test_half_a_character_is_written_as_none() -> None:
    read = ScopeSpans.FromString(
        wire.span(b"t" * 16, b"s" * 8, b"", "\ud83d", began_ns=1, ended_ns=2, flags=0)
    )
    assert read.spans[0].name == "?"
