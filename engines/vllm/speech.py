"""A piece of a recording -> what vLLM reads, as the model's own class in vLLM makes it."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from engines.base import EngineDead, GenerateRequest, InvalidRequest, Prompt
from engines.host.worker_threads import WorkerThreads
from engines.speech import Speech
from engines.vllm.embeddings import outcome
from engines.vllm.render import unlimited

FIELD: Final = "file"
"""What brings a recording."""
HEARS: Final = "transcribe"
"""The task of engines that do."""
_WITHOUT_TIMES, _FROM_ZERO = "<|notimestamps|>", "<|0.00|>"
_BEFORE = ("<|prev|>", "<|startofprev|>")
"""vLLM's word for what was said before, and the token that Whisper knows."""


class SpeechRenderer:
    """One engine's. Its blocking parts run in `threads`."""

    def __init__(self, llm: Any, threads: WorkerThreads, running: set[Any]) -> None:
        """`running`: the collectors that wait, the engine's."""
        self._llm, self._threads, self._running = llm, threads, running

    async def prompt(self, request: GenerateRequest) -> Prompt:
        """Finds the language where nobody has said it. Raises what vLLM raises."""
        speech = request.speech
        assert speech is not None
        await self._find_language(speech, request.request_id)
        rendered = await self._threads(self._rendered, speech)
        read = rendered.get("decoder_prompt", rendered)
        return Prompt(token_ids=list(read["prompt_token_ids"]), rendered=rendered)

    async def _find_language(self, speech: Speech, request_id: str) -> None:
        code = speech.language.code
        if code is not None:
            self._check(code)
        elif self._model.supports_explicit_language_detection:
            speech.language.code = await self._spoken(speech, f"{request_id}-language")

    def _check(self, code: str) -> None:
        known = sorted(self._model.supported_languages)
        if code not in known:
            expected = f"one of {', '.join(known)}"
            message = f"This model does not know the language {code[:16]!r}; right: {expected}."
            raise InvalidRequest(message, "language", expected)

    async def _spoken(self, speech: Speech, request_id: str) -> str:
        """One step of the model, whose only choice are languages."""
        tokenizer = self._llm.tokenizer
        ids = [each for each in self._model.get_language_token_ids(tokenizer) if each is not None]
        prompt = self._model.get_language_detection_prompt(_heard(speech), self._config(speech))
        found = await outcome(
            self._llm, request_id, prompt, _one_of(ids), self._running, param=FIELD
        )
        ids = list(found.outputs[0].token_ids)
        if not ids:
            raise EngineDead("vLLM aborted the request by itself: a process of its engine ends.")
        return str(self._model.parse_language_detection_output(ids, tokenizer))

    @functools.cached_property
    def _model(self) -> Any:
        from vllm.model_executor.model_loader import get_model_cls

        return get_model_cls(self._llm.model_config)

    def _config(self, speech: Speech) -> Any:
        task = "translate" if speech.translates else "transcribe"
        return self._model.get_speech_to_text_config(self._llm.model_config, task)

    def _rendered(self, speech: Speech) -> Mapping[str, Any]:
        from vllm.config.speech_to_text import SpeechToTextParams
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        params = SpeechToTextParams(
            audio=_heard(speech),
            stt_config=self._config(speech),
            model_config=self._llm.model_config,
            language=speech.language.code,
            task_type="translate" if speech.translates else "transcribe",
            request_prompt=speech.said_before,
        )
        prompt = parse_model_prompt(
            self._llm.model_config, self._model.get_generation_prompt(params)
        )
        _adjust(prompt, speech)
        renderer = self._llm.renderer
        lengths = unlimited(renderer.default_cmpl_tok_params)
        [rendered] = renderer.render_cmpl([prompt], lengths)
        return dict(rendered)


def _one_of(token_ids: list[int]) -> Any:
    from vllm.sampling_params import RequestOutputKind

    from vllm import SamplingParams

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        allowed_token_ids=token_ids,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


async def heard(renderer: SpeechRenderer | None, request: GenerateRequest) -> Prompt:
    """Raises InvalidRequest, and what vLLM raises."""
    if renderer is None:
        raise InvalidRequest("This model hears nothing.", "model")
    return await renderer.prompt(request)


def _adjust(prompt: Any, speech: Speech) -> None:
    """What vLLM's own server puts right, and what it does not."""
    read = prompt.get("decoder_prompt")
    if not isinstance(read, dict) or not isinstance(read.get("prompt"), str):
        return
    text = read["prompt"]
    if speech.said_before and text.startswith(_BEFORE[0]):
        text = _BEFORE[1] + text.removeprefix(_BEFORE[0])
    if speech.has_times:
        text = text.replace(_WITHOUT_TIMES, _FROM_ZERO)
    read["prompt"] = text


def _heard(speech: Speech) -> Any:
    """Samples from -1 to 1 (float32), as many as there are."""
    import numpy as np

    return np.frombuffer(speech.samples, dtype="<i2").astype(np.float32) / 32768.0
