"""vLLM's sleep mode: the card's memory is given back, the process stays. CUDA only."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from engines.base import EngineUnavailable

_LOOK_S = 0.02


def sleep_refusal(llm: Any) -> str | None:
    """Why it cannot sleep, and what would be right, in words; None: it can."""
    if llm is None:
        return "The engine is not running."
    if llm.model_config.enable_sleep_mode:
        return None
    device = llm.vllm_config.device_config.device_type
    if device != "cuda":
        return (
            f"This engine cannot sleep: vLLM sleeps on CUDA devices, and this one is on {device}; "
            "right would be to unload it."
        )
    return (
        "This engine cannot sleep: it was started without enable_sleep_mode; right would be "
        "`enable_sleep_mode: true` among its engine arguments."
    )


async def fall_asleep(llm: Any, level: int, is_idle: Callable[[], bool]) -> None:
    """Running requests end first: vLLM waits for them itself (`mode`), or, where it cannot, they
    are waited for here. Level 1 keeps the weights in host memory, 2 reads them again. No limit of
    its own. Raises EngineUnavailable."""
    if refusal := sleep_refusal(llm):
        raise EngineUnavailable(refusal)
    if "mode" in inspect.signature(llm.sleep).parameters:
        await llm.sleep(level=level, mode="wait")
        return
    while not is_idle():  # noqa: ASYNC110 - requests end in many places, and it ends rarely
        await asyncio.sleep(_LOOK_S)
    await llm.sleep(level=level)


async def wake_up(llm: Any, level: int) -> None:
    """From the level that it sleeps at; 0: it is awake."""
    if level == 1:
        await llm.wake_up()
    elif level == 2:
        await llm.wake_up(["weights"])
        await llm.collective_rpc("reload_weights")
        await llm.wake_up(["kv_cache"])
        await llm.reset_prefix_cache()
