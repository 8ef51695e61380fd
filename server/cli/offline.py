"""`fjord serve --offline`: no socket is opened but its own, and libraries are told so first."""

import os

from server.refusal import CannotStart
from server.settings import Settings
from server.tracing.address import CollectorAddress

VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # vLLM finds its own address by connecting to 8.8.8.8, unless it is told.
    "VLLM_HOST_IP": "127.0.0.1",
}


def go_offline(settings: Settings, collector: CollectorAddress | None) -> None:
    """For this process and all its children. Raises CannotStart."""
    if settings.ledger_url is not None:
        raise CannotStart(
            "--offline opens no socket but its own, and --ledger-url names a database elsewhere; "
            "leave one of them out."
        )
    if collector is not None and not collector.is_loopback:
        raise CannotStart(
            f"--offline opens no socket to elsewhere, and {collector.named_by} names a collector "
            "that is not this machine by its number; right would be http://127.0.0.1:4318, or none."
        )
    os.environ.update(VARIABLES)
