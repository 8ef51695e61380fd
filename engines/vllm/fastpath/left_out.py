"""The one warning of a part of the fast path that cannot be taken."""

import logging

log = logging.getLogger("fjord.vllm")


def leave_out(part: str, reason: object) -> None:
    """Say that vLLM's own way serves in place of `part`."""
    log.warning(
        "vLLM %s: %s is left out of the fast path, vLLM's own way serves: %s",
        vllm_version(),
        part,
        f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else reason,
    )


def vllm_version() -> str:
    import vllm

    return str(getattr(vllm, "__version__", "of unknown version"))
