"""Has each part of the fast path prove itself on a new engine, against the public way.

Nothing is generated: vLLM's own request and output processors are given requests and outputs that
the engine itself never sees, once as vLLM has them and once the fast way. Part by part: texts from
tokens' bytes, those of several tokens at a time, direct streams as a whole, and answers that are
gathered; requests that are copied, field by field, also fields that are unknown here. What differs,
or raises, is left out with one warning, and the public way serves.
"""

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from engines.base import GenerateRequest, Prompt
from engines.vllm.fastpath.fast_path import FastPath, remember_end_token
from engines.vllm.fastpath.left_out import leave_out
from engines.vllm.fastpath.messages import quicken
from engines.vllm.fastpath.output_router import OutputRouter, can_route
from engines.vllm.fastpath.probes import Probes, Render, answer_of, differences
from engines.vllm.fastpath.request_copies import RequestCopies
from engines.vllm.fastpath.text import TextMakers
from engines.vllm.sampling import sampling_params
from engines.vllm.vocabulary import Vocabulary

_SETTINGS: tuple[Mapping[str, Any], ...] = (
    {},
    {"temperature": 0.0, "ignore_eos": True},
    {"top_p": 0.5, "top_k": 7, "repetition_penalty": 1.1},
)
_WAYS = (
    ("text from tokens' bytes", True, True),
    ("text of several tokens at a time", False, True),
    ("direct streams", False, False),
)
"""(what is left out where it fails, has_byte_text, is_grouped), the fastest first."""


class Different(Exception):
    """The fast way does not give what vLLM gives."""


async def proven_fast_path(llm: Any, vocabulary: Vocabulary, render: Render) -> FastPath | None:
    """What of it may be taken on this engine; None: every request goes the public way."""
    try:
        if not can_route(llm):
            return None
        probes, processed = Probes(llm, vocabulary, render), RequestCopies(llm, is_copying=False)
    except Exception as error:
        leave_out("direct streams", error)
        return None
    router = await _proven_router(llm, vocabulary, probes, processed)
    if router is None:
        return None
    copies = await _proven_copies(llm, probes, processed)
    remember_end_token(llm)
    router.attach()
    try:
        quicken(llm.engine_core)
    except Exception as error:
        leave_out("messages past asynchronous sockets", error)
    return FastPath(copies or processed, router)


async def _proven_router(
    llm: Any, vocabulary: Vocabulary, probes: Probes, processed: RequestCopies
) -> OutputRouter | None:
    for part, has_byte_text, is_grouped in _WAYS:
        texts = TextMakers(vocabulary, has_byte_text=has_byte_text, is_grouped=is_grouped)
        try:
            router = OutputRouter(llm, texts)
            inspect.signature(llm.engine_core.add_request_async).bind(None)
            for skips_special_tokens in (True, False):
                for finish in ("length", "stop"):
                    await _check_stream(
                        llm, router, probes, processed, finish, skips_special_tokens
                    )
        except Exception as error:
            leave_out(part, error)
        else:
            return router
    return None


async def _check_stream(
    llm: Any,
    router: OutputRouter,
    probes: Probes,
    processed: RequestCopies,
    finish: str,
    skips_special_tokens: bool,
) -> None:
    """Raises where a direct stream's answer, or a gathered one, is not the collector's."""
    await asyncio.sleep(0)  # others' streams go on
    request, prompt = probes.request()
    asked = [await _made(processed, request, prompt, skips_special_tokens) for _ in range(3)]
    try:
        expected = answer_of(probes.collected(request, asked[0], finish))
        answers = [
            answer_of(probes.direct(request, asked[1], finish, router)),
            answer_of(await probes.gathered(request, asked[2], finish, router)),
        ]
        for answer, core_request in zip(answers, asked[1:], strict=True):
            if answer != expected:
                raise Different(f"{answer} and not {expected}")
            if core_request.request_id in llm.output_processor.request_states:
                raise Different("an answer that is over is not forgotten")
    finally:
        for core_request in asked:
            router.end(core_request.request_id)
            await llm.abort(core_request.request_id, internal=True)


async def _proven_copies(
    llm: Any, probes: Probes, processed: RequestCopies
) -> RequestCopies | None:
    try:
        copies = RequestCopies(llm)
        for settings in _SETTINGS:
            for _ in range(3):  # the first is no copy
                await asyncio.sleep(0)
                request, prompt = probes.request(**settings)
                expected = await _made(processed, request, prompt)
                if fields := differences(await _made(copies, request, prompt), expected):
                    raise Different(f"other {', '.join(fields)}")
    except Exception as error:
        leave_out("copied requests", error)
        return None
    return RequestCopies(llm)


async def _made(
    requests: RequestCopies, request: GenerateRequest, prompt: Prompt, skips: bool = True
) -> Any:
    return await requests.make(
        request,
        prompt,
        lambda: sampling_params(request, None, skips),
        is_plain=True,
        skips_special_tokens=skips,
    )
