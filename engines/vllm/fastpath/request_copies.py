"""GenerateRequest -> vLLM's EngineCoreRequest.

vLLM checks and fills in each for itself, in 80 µs. Most differ from one before in prompt, length
and priority alone: those are copies of it.
"""

import copy
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

from engines.base import GenerateRequest, Prompt, Sampling
from engines.host.interpreter_turns import in_short_turns

_MOST = 64
"""Settings that are remembered; beyond them all are forgotten."""

Settings: TypeAlias = tuple[Any, ...]


class RequestCopies:
    """One AsyncLLM's. Belongs to the event loop."""

    def __init__(self, llm: Any, is_copying: bool = True) -> None:
        """Without `is_copying` each is vLLM's own. Raises AttributeError where vLLM lacks one of
        the names."""
        self._is_copying = is_copying
        self._process = llm.input_processor.process_inputs
        self._assign_id = llm.input_processor.assign_request_id
        self._supported_tasks = llm.get_supported_tasks
        self._context_tokens = llm.model_config.max_model_len
        self._known: dict[Settings, Any] = {}

    async def make(
        self,
        request: GenerateRequest,
        prompt: Prompt,
        sampling_params: Callable[[], Any],
        *,
        is_plain: bool,
        skips_special_tokens: bool,
        adapter: Any = None,
        thinking_tokens: int | None = None,
    ) -> Any:
        """Under an id of its own. `sampling_params` makes vLLM's; `is_plain`: the request alone
        decides on them. Raises what vLLM raises."""
        settings = None
        if is_plain and self._is_copying:
            settings = _settings(request, skips_special_tokens, adapter, thinking_tokens)
        known = None if settings is None else self._known.get(settings)
        if known is not None and self._is_ordinary(prompt):
            core_request = _like(known, request, prompt)
        else:
            core_request = await self._processed(request, prompt, sampling_params(), adapter)
            if settings is not None and self._is_ordinary(prompt):
                self._remember(settings, core_request)
        self._assign_id(core_request)
        return core_request

    async def _processed(
        self, request: GenerateRequest, prompt: Prompt, params: Any, adapter: Any
    ) -> Any:
        work = partial(
            self._process,
            request.request_id,
            prompt.rendered,
            params,
            supported_tasks=await self._supported_tasks(),
            priority=request.priority,
            **({} if adapter is None else {"lora_request": adapter}),
        )
        compiles = params.structured_outputs is not None  # a large schema takes a second
        return await in_short_turns(work) if compiles else work()

    def _is_ordinary(self, prompt: Prompt) -> bool:
        """Tokens alone, that vLLM has nothing to say against."""
        rendered = prompt.rendered
        is_tokens = bool(rendered.get("type") == "token")
        return is_tokens and 0 < prompt.token_count < self._context_tokens

    def _remember(self, settings: Settings, core_request: Any) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[settings] = copy.copy(core_request)


_OF_ONE = ("max_tokens", "min_tokens", "seed", "logit_bias")
_shared = attrgetter(*(name for name in Sampling.__struct_fields__ if name not in _OF_ONE))


def _settings(
    request: GenerateRequest,
    skips_special_tokens: bool,
    adapter: Any,
    thinking_tokens: int | None,
) -> Settings | None:
    """What must be the same; None where what is hardly ever the same is asked for.
    `thinking_tokens`: vLLM's number of a thinking budget, which counts the prompt's own, too."""
    sampling = request.sampling
    if sampling.logit_bias or sampling.min_tokens or sampling.seed is not None:
        return None
    number = None if adapter is None else adapter.lora_int_id  # equal by name alone
    return (*_shared(sampling), request.stream, skips_special_tokens, number, thinking_tokens)


def _like(known: Any, request: GenerateRequest, prompt: Prompt) -> Any:
    core_request, params = copy.copy(known), copy.copy(known.sampling_params)
    params.max_tokens = request.sampling.max_tokens
    core_request.request_id = request.request_id
    core_request.prompt_token_ids = prompt.rendered["prompt_token_ids"]
    core_request.arrival_time = prompt.rendered["arrival_time"]
    core_request.sampling_params = params
    core_request.priority = request.priority
    core_request.cache_salt = prompt.rendered.get("cache_salt")
    return core_request
