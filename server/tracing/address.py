"""Where traces go: --otlp-endpoint, or OpenTelemetry's own variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.refusal import CannotStart
from server.settings import Settings

PATH: Final = "/v1/traces"
_RIGHT: Final = "right would be like http://127.0.0.1:4318"
_HTTP: Final = ("", "http/protobuf")


class OtelVariables(BaseSettings):
    """Those of OpenTelemetry's that are read here; its SDK reads OTEL_SERVICE_NAME,
    OTEL_RESOURCE_ATTRIBUTES and OTEL_TRACES_SAMPLER with its argument.
    https://opentelemetry.io/docs/specs/otel/protocol/exporter/"""

    model_config = SettingsConfigDict(env_prefix="OTEL_", frozen=True, extra="ignore")

    sdk_disabled: str = ""
    traces_exporter: str = ""
    exporter_otlp_endpoint: str = ""
    exporter_otlp_traces_endpoint: str = ""
    exporter_otlp_protocol: str = ""
    exporter_otlp_traces_protocol: str = ""
    exporter_otlp_headers: str = ""
    exporter_otlp_traces_headers: str = ""
    exporter_otlp_compression: str = ""
    exporter_otlp_traces_compression: str = ""
    exporter_otlp_certificate: Path | None = None
    exporter_otlp_traces_certificate: Path | None = None
    exporter_otlp_client_certificate: Path | None = None
    exporter_otlp_traces_client_certificate: Path | None = None
    exporter_otlp_client_key: Path | None = None
    exporter_otlp_traces_client_key: Path | None = None

    @property
    def is_off(self) -> bool:
        """Whether they keep traces from being sent where they name."""
        protocol = self.exporter_otlp_traces_protocol or self.exporter_otlp_protocol
        return (
            self.sdk_disabled.strip().lower() == "true"
            or self.traces_exporter.strip() not in ("", "otlp")
            or protocol.strip() not in _HTTP
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorAddress:
    """A collector of OTLP over HTTP, and how it is spoken to."""

    url: str
    named_by: str
    """The flag or variable, for errors."""
    headers: str = field(default="", repr=False)
    """As OTEL_EXPORTER_OTLP_HEADERS writes them; they may be secret."""
    is_gzip: bool = False
    certificate: Path | None = None
    """Of who signed the collector's; None: the system's."""
    client_certificate: Path | None = None
    client_key: Path | None = None

    @property
    def place(self) -> str:
        """Host and port, for the log."""
        return urlsplit(self.url).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine by its number: a name would be looked up."""
        try:
            return ip_address(urlsplit(self.url).hostname or "").is_loopback
        except ValueError:
            return False


def collector_address(settings: Settings) -> CollectorAddress | None:
    """None: nobody asked for traces. Raises CannotStart."""
    variables = _variables()
    found = _named(settings, variables)
    if found is None:
        return None
    url, named_by = found
    return CollectorAddress(
        url=url,
        named_by=named_by,
        headers=variables.exporter_otlp_traces_headers or variables.exporter_otlp_headers,
        is_gzip=_is_gzip(variables),
        certificate=variables.exporter_otlp_traces_certificate
        or variables.exporter_otlp_certificate,
        client_certificate=variables.exporter_otlp_traces_client_certificate
        or variables.exporter_otlp_client_certificate,
        client_key=variables.exporter_otlp_traces_client_key or variables.exporter_otlp_client_key,
    )


def _variables() -> OtelVariables:
    try:
        return OtelVariables()
    except ValidationError as error:
        names = ", ".join(f"OTEL_{str(each['loc'][0]).upper()}" for each in error.errors())
        raise CannotStart(f"{names} cannot be read.") from None


def _named(settings: Settings, variables: OtelVariables) -> tuple[str, str] | None:
    """The address and who named it: the flag, else the more particular variable. A base address
    gets the signal's path, as the protocol's specification has it."""
    if settings.otlp_endpoint is not None:
        named_by = "--otlp-endpoint"
        return _with_path(_checked(settings.otlp_endpoint, named_by)), named_by
    if variables.is_off:
        return None
    if variables.exporter_otlp_traces_endpoint:
        named_by = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        return _checked(variables.exporter_otlp_traces_endpoint, named_by).geturl(), named_by
    if variables.exporter_otlp_endpoint:
        named_by = "OTEL_EXPORTER_OTLP_ENDPOINT"
        return _with_path(_checked(variables.exporter_otlp_endpoint, named_by)), named_by
    return None


def _checked(url: str, named_by: str) -> SplitResult:
    """Its value is in no error: it may hold a password by mistake. Raises CannotStart."""
    try:
        parts = urlsplit(url.strip())
        is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise CannotStart(f"{named_by} is no address of a collector; {_RIGHT}.")
    if parts.username is not None or parts.query or parts.fragment:
        raise CannotStart(
            f"{named_by} has more than scheme, host, port and path; {_RIGHT}. What a collector "
            "wants to know of who sends goes into OTEL_EXPORTER_OTLP_HEADERS."
        )
    return parts


def _with_path(parts: SplitResult) -> str:
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(PATH) else path + PATH).geturl()


def _is_gzip(variables: OtelVariables) -> bool:
    asked = variables.exporter_otlp_traces_compression or variables.exporter_otlp_compression
    known: Mapping[str, bool] = {"": False, "none": False, "gzip": True}
    try:
        return known[asked.strip().lower()]
    except KeyError:
        raise CannotStart(
            "OTEL_EXPORTER_OTLP_COMPRESSION is unknown; right are gzip and none."
        ) from None
