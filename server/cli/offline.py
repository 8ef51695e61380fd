"""`fjord serve --offline`: no socket is opened but its own, and libraries are told so first."""

import os

from server.refusal import CannotStart
from server.settings import Settings

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


def go_offline(settings: Settings) -> None:
    """For this process and all its children. Raises CannotStart."""
    if settings.ledger_url is not None:
        raise CannotStart(
            "--offline opens no socket but its own, and --ledger-url names a database elsewhere; "
            "leave one of them out."
        )
    os.environ.update(VARIABLES)
