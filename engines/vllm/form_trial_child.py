"""A process that compiles a form as vLLM's engine will, and writes a little by it: whether it may
be given to the engine. `python -m engines.vllm.form_trial_child` with a tokenizer's place."""

import json
import os
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy

from engines.host.warm_child import NICE, answer_questions, end_with_parent

MOST_BYTES = 3 * 2**30
_CACHE_BYTES = 256 * 2**20
_STEPS = 256
_WALK_S = 1.5
_LATEST = 16
"""An ambiguous form costs more with every token: its last ones tell."""
_MOST_STEP_S = 0.1
"""CPU time of one token's mask, or of its acceptance: all streams wait for it."""
_MOST_MEAN_S = 0.012
_THREADS = 8


class Trial:
    """On one model's vocabulary."""

    def __init__(self, vocabulary: Any) -> None:
        import xgrammar

        self._xgrammar = xgrammar
        self._size = vocabulary.vocab_size
        self._ends = list(vocabulary.stop_token_ids)
        self._compiler = xgrammar.GrammarCompiler(
            vocabulary, max_threads=_THREADS, cache_enabled=True, cache_limit_bytes=_CACHE_BYTES
        )

    def __call__(self, form: Mapping[str, str]) -> dict[str, Any]:
        """{"error": …} where it cannot be compiled, {"step_s": …} where its tokens cost too much,
        else {}."""
        try:
            compiled = self._compiled(form["kind"], form["text"])
        except Exception as error:
            return {"error": str(error)[-300:]}
        worst = self._walk(compiled)
        return {} if worst is None else {"step_s": worst}

    def _compiled(self, kind: str, text: str) -> Any:
        match kind:
            case "regex":
                return self._compiler.compile_regex(text)
            case "structural_tag":
                return self._compiler.compile_structural_tag(text)
            case "choice":
                words = (json.dumps(each, ensure_ascii=False) for each in json.loads(text))
                return self._compiler.compile_grammar("root ::= " + " | ".join(words) + "\n")
        if "::=" in text or not hasattr(self._compiler, "compile_lark"):
            return self._compiler.compile_grammar(text)
        return self._compiler.compile_lark(text)

    def _walk(self, compiled: Any) -> float | None:
        """Writes at random; the CPU seconds of a step that costs too much."""
        matcher = self._xgrammar.GrammarMatcher(compiled)
        mask = self._xgrammar.allocate_token_bitmask(1, self._size)
        chance, costs = random.Random(0), [0.0]
        while len(costs) < _STEPS and sum(costs) < _WALK_S and max(costs) < _MOST_STEP_S:
            if matcher.is_terminated() or (cost := self._step(matcher, mask, chance)) is None:
                break
            costs.append(cost)
        latest = costs[-_LATEST:]
        mean = sum(latest) / len(latest)
        if max(costs) >= _MOST_STEP_S:
            return max(costs)
        return mean if mean > _MOST_MEAN_S else None

    def _step(self, matcher: Any, mask: Any, chance: random.Random) -> float | None:
        """What one token costs."""
        began = time.thread_time()
        matcher.fill_next_token_bitmask(mask, 0)
        masked = time.thread_time()
        token = self._token(mask, chance)
        if token is None:
            return None
        found = time.thread_time()
        matcher.accept_token(token)
        return max(masked - began, time.thread_time() - found)

    def _token(self, mask: Any, chance: random.Random) -> int | None:
        """One that the mask lets through and that ends nothing."""
        bits = numpy.unpackbits(mask.numpy().view(numpy.uint8), bitorder="little")[: self._size]
        bits[self._ends] = 0
        allowed = numpy.flatnonzero(bits)
        return int(allowed[chance.randrange(len(allowed))]) if len(allowed) else None


def vocabulary_of(place: Mapping[str, Any]) -> Any:
    """xgrammar's TokenizerInfo of a model's tokenizer."""
    from transformers import AutoTokenizer
    from xgrammar import TokenizerInfo

    tokenizer = AutoTokenizer.from_pretrained(
        place["path"], revision=place["revision"], trust_remote_code=place["trust_remote_code"]
    )
    return TokenizerInfo.from_huggingface(tokenizer, vocab_size=place["vocab_size"])


def main() -> None:
    """The child's end."""
    end_with_parent()
    place = json.loads(sys.argv[1])
    trial = Trial(vocabulary_of(place))
    trial({"kind": "grammar", "text": place["warming"]})
    os.nice(NICE)  # who waits for the start must not wait for a busy machine
    answer_questions(trial, MOST_BYTES)


if __name__ == "__main__":
    main()
