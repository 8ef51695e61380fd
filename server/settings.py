"""Environment and flags -> Settings; nothing else reads os.environ."""

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every knob of one server process. Each has an environment variable FJORD_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="FJORD_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = 8080
    registry: Path = Path("model_registry.yaml")
    profile: Literal["cuda", "small", "embedded"] | str | None = None
    """None: cuda where there is a GPU, else embedded."""
    data_dir: Path = Path("data")
    no_auth: bool = False
    max_body_bytes: int = 8 * 2**20
    load_timeout_s: float = 600.0
    """How long a request waits for a model that is loading."""
    request_timeout_s: float = 600.0
    drain_timeout_s: float = 60.0
    send_timeout_s: float = 30.0
    """A client that takes no byte for so long is dropped."""
    queue_limit: int = 1024
    """Requests in flight or waiting per alias; beyond it 503."""
    requests_per_minute: int = 1000
    burst: int = 100
    concurrent: int = 50
    ledger_url: str | None = None
    """postgresql://…: the site's database, beside the local ledger."""
    log_level: str = "info"
