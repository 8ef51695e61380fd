"""Where traces go: the flag, OpenTelemetry's variables, and what of them is refused."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.refusal import CannotStart
from server.settings import read_settings
from server.tracing import export
from server.tracing.address import CollectorAddress, collector_address
from tests.support.collectors import TestCollector, collecting
from tests.support.command import fjord_here
from tests.support.serve_process import with_registry
from tests.support.serving import Served, scripted, serving, wait_until

OTEL = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTEL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(export, "EVERY_S", 0.02)


def found(**flags: str) -> CollectorAddress | None:
    return collector_address(read_settings(**flags))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example.com/a/b", "https://otel.example.com/a/b/v1/traces"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ("http://collector:4318/v1/traces/", "http://collector:4318/v1/traces"),
    ],
)
def test_a_base_address_gets_the_signals_path(given: str, url: str) -> None:
    address = found(otlp_endpoint=given)
    assert address is not None
    assert (address.url, address.named_by) == (url, "--otlp-endpoint")


WRONG = [
    "127.0.0.1:4318",
    "grpc://127.0.0.1:4317",
    "http://",
    "http://:4318",
    "http://h:0",
    "http://h:99999",
    "http://h:x",
    "http://[::1",
    "/srv/traces",
    "",
    "http://user:hunter2@h:4318",
    "http://h:4318/?key=hunter2",
    "http://h:4318/#hunter2",
]


@pytest.mark.parametrize("given", WRONG)
def test_what_is_no_address_is_refused_and_not_repeated(tmp_path: Path, given: str) -> None:
    said = fjord_here(tmp_path, "serve", "--otlp-endpoint", given)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr
    assert "--otlp-endpoint" in said.stderr
    assert "http://127.0.0.1:4318" in said.stderr
    assert "hunter2" not in said.stderr


def test_opentelemetrys_variables_name_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318")
    base = found()
    assert base is not None
    assert base.url == "http://base:4318/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/as/it/is")
    particular = found()
    assert particular is not None
    assert particular.url == "http://traces:4318/as/it/is"
    flag = found(otlp_endpoint="http://flag:4318")
    assert flag is not None
    assert flag.place == "flag:4318"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ],
)
def test_and_they_take_it_back_while_the_flag_stands(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318")
    monkeypatch.setenv(name, value)
    assert found() is None
    assert found(otlp_endpoint="http://base:4318") is not None


def test_an_unknown_compression_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")
    with pytest.raises(CannotStart, match="gzip and none"):
        found(otlp_endpoint="http://h:4318")


def test_headers_are_in_no_word_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
    assert "hunter2" not in repr(found(otlp_endpoint="http://h:4318"))


@pytest.mark.parametrize("host", ["collector", "10.0.0.7", "localhost", "0.0.0.0", "[fe80::1]"])
def test_offline_names_no_collector_elsewhere(tmp_path: Path, host: str) -> None:
    said = fjord_here(tmp_path, "serve", "--offline", "--otlp-endpoint", f"http://{host}:4318")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr
    assert "--offline opens no socket to elsewhere" in said.stderr
    assert "http://127.0.0.1:4318" in said.stderr


def test_offline_names_no_collector_elsewhere_by_a_variable_either(tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    said = fjord_here(tmp_path, "serve", "--offline", **variables)
    assert said.returncode == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT names a collector" in said.stderr


def test_packages_that_are_not_here_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("server.tracing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    home = with_registry(tmp_path)
    said = fjord_here(home, "serve", "--port", "0", "--otlp-endpoint", "http://127.0.0.1:4318")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr
    assert "opentelemetry-sdk" in said.stderr
    assert not (home / "data/fjord.port").exists()


@pytest.fixture
def collector() -> Iterator[TestCollector]:
    with collecting() as running:
        yield running


def asked(served: Served) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
    answer = httpx.post(f"{served.url}/v1/chat/completions", headers=served.headers, json=body)
    assert answer.status_code == 200


def test_the_sdks_and_exporters_variables_hold(
    tmp_path: Path, collector: TestCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "llm-gateway")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,host.name=h7")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,x-tenant=a")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with serving(tmp_path, scripted("m"), settings={"otlp_endpoint": collector.url}) as served:
        asked(served)
        wait_until(collector.spans, "it came")
    about, sent = collector.resource(), collector.headers[0]
    assert (about["service.name"], about["host.name"]) == ("llm-gateway", "h7")
    assert about["deployment.environment.name"] == "test"
    assert (sent["authorization"], sent["x-tenant"]) == ("Bearer x", "a")
    assert sent["content-encoding"] == "gzip"


def test_the_sampler_is_opentelemetrys(
    tmp_path: Path, collector: TestCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    with serving(tmp_path, scripted("m"), settings={"otlp_endpoint": collector.url}) as served:
        asked(served)
        caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        httpx.get(
            f"{served.url}/v1/models", headers={**served.headers, "traceparent": caller}
        ).raise_for_status()
        wait_until(collector.spans, "the caller's came")
    assert {span.name for span in collector.spans()} == {"GET /v1/models"}
