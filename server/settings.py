"""Environment and flags -> Settings; nothing else reads os.environ (OpenTelemetry's variables:
tracing/address.py)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engines.registry.cluster import ClusterName
from engines.registry.complaints import complaint, shown
from server.refusal import CannotStart


def _several(value: Any) -> Any:
    """An environment variable holds several values between semicolons."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(";") if part.strip())
    return value


def _mode(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError("right would be three octal digits, like 660")
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"\*|[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s]+/?", value):
        raise ValueError("right would be like https://chat.example.com:8443, or *")
    return value


def _console_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s?#@]+/?", value):
        raise ValueError("right would be like https://fjord.example.com, without a path")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", value):
        raise ValueError("right would be like images.example.com, or images.example.com:8443")
    return value


def _advertised(value: str) -> str:
    if not re.fullmatch(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", value):
        raise ValueError("right would be like http://gpu-1.example.com:8080")
    return value.rstrip("/")


def _node_name(value: str) -> str:
    if value and not (value.strip() and value.isprintable() and len(value) <= MOST_NODE_NAME):
        raise ValueError(f"right would be a name of 1 to {MOST_NODE_NAME} printable characters")
    return value.strip()


Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)]
Host = Annotated[str, AfterValidator(_host)]
Origin = Annotated[str, AfterValidator(_origin)]
ConsoleUrl = Annotated[str, AfterValidator(_console_url)]
LONGEST_S = 366 * 86_400.0
MOST_GB = 1e6
MOST_NODE_NAME = 100
MOST_AUDIO_MB, MOST_AUDIO_S = 1e4, 36_000.0
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]
Limit = Annotated[float, Field(gt=0, le=LONGEST_S)]
"""Seconds that cannot be none at all."""
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Settings(BaseSettings):
    """Every knob of one server process. Each has an environment variable FJORD_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="FJORD_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    """0: any free one; the start says which."""
    uds: Path | None = None
    """A Unix socket to listen on, instead of the port; where `port` is given, beside it."""
    uds_mode: Annotated[str, AfterValidator(_mode)] = "660"
    """Of its file: who may connect; octal, as chmod takes it."""
    tls_cert: Path | None = None
    """The certificate's chain in PEM, the server's own first; None: the port speaks plain HTTP."""
    tls_key: Path | None = None
    """Its private key in PEM, without a passphrase."""
    ops_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """The port of /metrics, /ready, /docs and /admin; None: they are where the API is."""
    ops_host: str = "127.0.0.1"
    registry: Path | None = None
    """None: ./model_registry.yaml if it is there, else the one that comes with Fjord."""
    profile: Literal["cuda", "small", "embedded"] | str | None = None
    """None: cuda where there is a GPU, else embedded."""
    engine: Literal["vllm", "llamacpp", "scripted"] | None = None
    """None: as the registry says."""
    model: Several = ()
    """NAME=SOURCE of one's own models, instead of the registry's."""
    engine_arg: Several = ()
    """name=value for the engines of `model`."""
    data_dir: Path = Path("data")
    no_auth: bool = False
    cors_origin: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_several)] = ()
    """Web pages that may call from their browsers: scheme://host:port each, or *."""
    ollama: bool | None = None
    """Whether Ollama's API is there beside the service's; None: where no other machine can ask."""
    console: bool | None = None
    """Whether the console (/console) is there; None: where no other machine can ask."""
    console_url: ConsoleUrl | None = None
    """Of the console as browsers know it, where that is not this machine's own address."""
    max_body_bytes: Count = 8 * 2**20
    image_hosts: Annotated[tuple[Host, ...], NoDecode, BeforeValidator(_several)] = ()
    """Hosts that pictures may be fetched from, name or name:port each; () none are fetched."""
    load_timeout_s: Seconds = 600.0
    """How long a request waits for a model that is loading."""
    start_timeout_s: Limit | None = None
    """How long an engine may take to start, its weights being here; None: 300 s, and 20 a GiB."""
    fetch_stall_timeout_s: Limit = 600.0
    """How long a fetch may get no further before it is given up and tried again."""
    engine_memory_gb: Annotated[float, Field(gt=0, le=MOST_GB)] | None = None
    """What engines may take of the machine's own memory; None: nine tenths of it."""
    offline: bool = False
    """Whether no socket is opened but the server's own."""
    verify: bool = False
    """Whether every byte of a model's weights is compared before it is loaded."""
    weights_dir: Path | None = None
    """Where weights are fetched to; None: `weights` in the data directory. Engines read it."""
    sleep_memory_gb: Annotated[float, Field(ge=0, le=MOST_GB)] | None = None
    """What the weights of sleeping engines may keep of the machine's memory; None: half of what is
    free at the start."""
    request_timeout_s: Seconds = 600.0
    drain_timeout_s: Seconds = 60.0
    send_timeout_s: Seconds = 30.0
    """A client that takes no byte for so long is dropped."""
    keep_alive_s: Seconds = 10.0
    """A stream that has been silent for so long gets a comment line."""
    queue_limit: Count = 1024
    """Requests in flight or waiting per alias; beyond it 503."""
    file_gb: Annotated[float, Field(gt=0, le=MOST_GB)] = 2.0
    """The most that one uploaded file may have."""
    files_gb: Annotated[float, Field(gt=0, le=MOST_GB)] = 10.0
    """The most that an owner's files may have together."""
    audio_mb: Annotated[float, Field(gt=0, le=MOST_AUDIO_MB)] = 25.0
    """The most that the file of a recording may have."""
    audio_seconds: Annotated[float, Field(gt=0, le=MOST_AUDIO_S)] = 1450.0
    """The longest recording; its samples are in memory while it is heard, 32 kB a second."""
    kept_answers_gb: Annotated[float, Field(gt=0, le=MOST_GB)] = 1.0
    """The most that answers kept for an Idempotency-Key may have together; an owner half of it."""
    batch_lines: Count = 1_000_000
    """Requests of one batch."""
    batch_concurrent: Count = 16
    """Requests of batches that are asked at once, of all batches together, for each model."""
    content_days: Annotated[float, Field(gt=0, le=30)] = 7.0
    """How long bodies and answers are kept of keys that are set to it."""
    metadata_days: Annotated[float, Field(gt=0, le=366)] = 30.0
    """How long requests' shape is kept of keys that are set to it."""
    response_store: Literal["always", "asked", "never"] = "always"
    """Which responses are kept: unless they say store: false, where they say true, or none."""
    memory_key: Path | None = None
    """The file of the key that seals them; None: `memory.key` in the data directory. A site's nodes
    have one in common, without which they keep nothing, and share no Idempotency-Key."""
    memory_days: Annotated[float, Field(gt=0, le=36_600)] = 30.0
    """So long a response is kept, and a conversation after its last change."""
    memory_days_of: Several = ()
    """OWNER=DAYS of owners for whom it is longer or shorter."""
    memory_gb: Annotated[float, Field(gt=0, le=MOST_GB)] = 1.0
    """The most that an owner's responses and conversations may have together."""
    background_open: Count = 100
    """Background responses of one owner that are not over."""
    background_timeout_s: Seconds = 3600.0
    """How long one may wait, and how long it may run."""
    requests_per_minute: Count = 1000
    burst: int = Field(100, ge=0, le=2**31 - 1)
    concurrent: Count = 50
    ledger_url: str | None = None
    """postgresql://…: the site's database, beside the local ledger."""
    ledger_stale_s: Seconds = 86_400.0
    """A node serves on its last known keys and budgets for so long while the site is away."""
    advertise: Annotated[str, AfterValidator(_advertised)] | None = None
    """http(s)://host:port where the site's other servers reach this one; None: it is not told."""
    cluster: ClusterName | None = None
    """ray, or ray://HOST:PORT: where vLLM's engines may stand too; None: as the registry says."""
    node: Annotated[str, AfterValidator(_node_name)] | None = None
    """This server's name in usage records; None: the host's name."""
    join: Annotated[str, AfterValidator(_advertised)] | None = None
    """fjord node: http(s)://host:port of the server that this machine joins."""
    node_token: str | None = Field(None, repr=False)
    """The secret with which machines join as parts of engines (fjord node); None: none may."""
    node_token_file: Path | None = None
    """A file whose first line it is."""
    otlp_endpoint: str | None = None
    """Where traces of requests go, in OTLP over HTTP; None: where OpenTelemetry's variables say."""
    url: str | None = None
    """fjord run: the server to talk to; None: the one at host and port."""
    api_key: str | None = None
    """fjord run: the key to use; None: the one that the first start kept."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"
    """auto: text for a terminal, JSON lines for anything else."""

    @property
    def has_port(self) -> bool:
        """Whether a port is listened on."""
        return self.uds is None or "port" in self.model_fields_set


def read_settings(**flags: Any) -> Settings:
    """Flags that were given (not None, not empty) over the environment. Raises CannotStart."""
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [_wrong(each, given) for each in error.errors()]
        raise CannotStart("\n".join(lines)) from None


def _wrong(error: ErrorDetails, flags: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    flag = name.removesuffix("_gb").removesuffix("_s")  # help says a flag's unit
    asked = f"--{flag.replace('_', '-')}" if name in flags else f"FJORD_{name.upper()}"
    return f"{asked} {shown(error['input'])} is wrong: {complaint(error)}."
