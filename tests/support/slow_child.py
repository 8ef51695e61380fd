"""A warm child for tests: `python -m tests.support.slow_child`. It does what it is asked."""

import os
import time

from engines.host.warm_child import answer_questions, end_with_parent

MOST_BYTES = 256 * 2**20


def answer(question: str) -> str | int | list[str]:
    match question:
        case "work":
            while True:
                pass
        case "wait":
            time.sleep(0.5)
        case "die":
            os._exit(1)
        case "eat":
            try:
                return len(bytes(2**30))
            except MemoryError:
                return "no memory"
        case "environment":
            set_by_python = {"LC_CTYPE", "FJORD_PARENT_PID"}
            return sorted(os.environ.keys() - set_by_python)
        case "pid":
            return os.getpid()
        case "print":
            print("noise")  # noqa: T201  # libraries do
    return question


if __name__ == "__main__":
    end_with_parent()
    answer_questions(answer, MOST_BYTES)
