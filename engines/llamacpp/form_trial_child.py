"""A process that compiles a grammar as llama.cpp will:
`python -m engines.llamacpp.form_trial_child` with the path of llama.cpp's extension module."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from engines.host.warm_child import NICE, answer_questions
from engines.llamacpp.llguidance import Complaint, grammar_complaint

MOST_BYTES = 2**30
ENOUGH_S = 0.02
TRIES = 3
"""A busy machine's caches make one compilation look slower than it is."""


def tried(complaint: Complaint, question: Mapping[str, Any]) -> dict[str, Any]:
    """`complaint`, and the CPU seconds of the quickest try."""
    text, cost_s = None, float("inf")
    for _ in range(TRIES):
        began = time.thread_time()
        text = complaint(question["grammar"], question["special_tokens"])
        cost_s = min(cost_s, time.thread_time() - began)
        if cost_s < ENOUGH_S or cost_s > 10 * ENOUGH_S:
            break
    return {"complaint": text, "compile_s": cost_s}


def main() -> None:
    """The child's end."""
    os.nice(NICE)
    complaint = grammar_complaint(sys.argv[1])
    answer_questions(lambda question: tried(complaint, question), MOST_BYTES)


if __name__ == "__main__":
    main()
