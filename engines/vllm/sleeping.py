"""vLLM's sleep mode: the card's memory is given back, the process stays. CUDA only."""

from typing import Any

from engines.base import EngineUnavailable


async def fall_asleep(llm: Any, level: int) -> None:
    """Running requests are aborted. Level 1 keeps the weights in host memory, 2 reads them again.
    Raises EngineUnavailable."""
    if not llm.model_config.enable_sleep_mode:
        raise EngineUnavailable(
            "This engine cannot sleep: it was started without enable_sleep_mode; right would "
            "be `enable_sleep_mode: true` among its engine arguments, on a CUDA device."
        )
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
