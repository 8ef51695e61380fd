"""In the child that speaks with the hub: a hub that is busy is asked again, when it says."""

import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError

from engines.host.child_job import Progress

BUSY = {429, 502, 503, 504}
TRIES = 6
LONGEST_S = 60
Answer = TypeVar("Answer")


def patiently(
    ask: Callable[[], Answer], progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """The library does so of files, and not of a repository's description. Raises what `ask`
    does, a busy hub's answer at the sixth time."""
    for turn in range(1, TRIES):
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code not in BUSY:
                raise
            wait_s = _retry_after_s(error, 2**turn)
        for left_s in range(wait_s, 0, -1):
            progress(f"waiting: the hub is busy, and is asked again in {left_s} s", None, None)
            sleep(1.0)
    return ask()


def _retry_after_s(error: HfHubHTTPError, otherwise: int) -> int:
    said = error.response.headers.get("Retry-After", "")
    return min(int(said) if said.isascii() and said.isdigit() else otherwise, LONGEST_S)
