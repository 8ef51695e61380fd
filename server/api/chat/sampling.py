"""Wire fields -> Sampling: how tokens are drawn, with the alias' and the contract's defaults."""

from collections.abc import Mapping
from typing import Any

from engines.base import Sampling
from engines.registry.spec import ModelSpec
from server.api.chat.wire import SamplingFields
from server.errors import ApiError

_TEMPERATURE = 0.7
_COLDEST = 1e-5
"""As vLLM has it. Divided by less no logit is left: llama.cpp draws one wrong token for ever."""
_THINNEST = 1e-7
"""The likeliest token alone has more, in a vocabulary of any size."""


def sampling(
    wire: SamplingFields,
    spec: ModelSpec,
    *,
    max_tokens: int,
    n: int = 1,
    logprobs: int | None = None,
) -> Sampling:
    """Sampling parameters with the alias' and the contract's defaults filled in."""
    d = spec.defaults
    temperature, top_p, top_k = _cuts(wire, d, n)
    min_tokens = wire.min_tokens or 0
    if min_tokens > max_tokens:
        message = f"min_tokens ({min_tokens}) is more than max_tokens ({max_tokens})."
        raise ApiError.invalid(message, "min_tokens", min_tokens, f"at most {max_tokens}")
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=_first(wire, "min_p", d, 0.0),
        presence_penalty=_first(wire, "presence_penalty", d, 0.0),
        frequency_penalty=_first(wire, "frequency_penalty", d, 0.0),
        repetition_penalty=_first(wire, "repetition_penalty", d, 1.0),
        seed=None if wire.seed is None else wire.seed % 2**63,  # engines read -1 as "any"
        n=n,
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        includes_stop_string=bool(wire.include_stop_str_in_output),
        ignore_eos=bool(wire.ignore_eos),
        logprobs=logprobs,
        logit_bias={int(k): v for k, v in (wire.logit_bias or {}).items()},
    )


def _cuts(wire: SamplingFields, d: Mapping[str, Any], n: int) -> tuple[float, float, int]:
    """temperature, top_p and top_k; what 32 bits would hold as next to nothing is 0."""
    temperature = _or_zero(_first(wire, "temperature", d, _TEMPERATURE), _COLDEST)
    top_p = _or_zero(_first(wire, "top_p", d, 1.0), _THINNEST)
    if top_p == 0 or (temperature == 0 and n > 1):
        # The likeliest token alone, said so that engines which refuse a top_p of 0, or several
        # greedy choices, take it.
        return temperature or 1.0, 1.0, 1
    return temperature, top_p, max(0, _first(wire, "top_k", d, 0))


def _or_zero(value: float, least: float) -> float:
    return value if value >= least else 0.0


def _first(wire: SamplingFields, name: str, defaults: Mapping[str, Any], neutral: Any) -> Any:
    if name in wire.model_fields_set and (value := getattr(wire, name)) is not None:
        return value
    return defaults.get(name, neutral)
