"""Whether a folder's tokenizer is there and loads: by transformers, as vLLM loads it, in a process
of its own. The model's own code is never run."""

import importlib.util
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.host.child_job import ChildJobFailed, run_child_job

FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt")
"""A tokenizer is one of these, and what stands beside it."""
LONGEST_S = 90.0
"""transformers alone takes 2 s of an idle core to import."""
MOST_WORDS = 4000
"""Of transformers, paths and all."""
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def tokenizer_findings(
    folder: Path, longest_s: float = LONGEST_S, *, loads: bool = True
) -> Iterator[Finding]:
    """Blocks, for at most `longest_s`. Without `loads` its files alone are looked at."""
    code = [*folder.glob("tokenization_*.py"), *folder.glob("*.tiktoken")]
    if not any((folder / name).is_file() for name in FILES) and not code:
        yield fail("tokenizer.files", "no tokenizer here (tokenizer.json)")
    elif (folder / "tekken.json").is_file() and not (folder / "tokenizer.json").is_file():
        yield note("tokenizer.loads", "tekken.json: mistral-common reads it, not tried here")
    elif not loads:
        yield ok("tokenizer.files", "its files are there")
    elif importlib.util.find_spec("transformers") is None:
        yield note(
            "tokenizer.loads", "loading it was not tried: transformers is not installed here"
        )
    else:
        yield _tried(folder, longest_s)


def _tried(folder: Path, longest_s: float) -> Finding:
    began, id = time.monotonic(), "tokenizer.loads"

    def in_time(what: str, done: int | None, total: int | None) -> None:
        if time.monotonic() - began > longest_s:
            raise TimeoutError

    try:
        job = "engines.checking.tokenizer_child"
        told = json.loads(run_child_job(job, [str(folder)], in_time, {**os.environ, **_QUIET}))
    except TimeoutError:
        return fail(id, f"the tokenizer did not load within {longest_s:g} s")
    except (ChildJobFailed, ValueError) as error:
        return fail(id, f"the tokenizer does not load: {bounded(error, MOST_WORDS)}")
    if told.get("missing"):
        lacking = f"transformers {told['version']} has no {bounded(', '.join(told['missing']))}"
        return fail(id, f"the tokenizer is code of the model's own, which does not load: {lacking}")
    if told["needs_code"]:
        return note(id, "the tokenizer is code of the model's own: not run here, not tried")
    return ok(id, f"{told['name']}, {told['size']:,} tokens, loads with transformers")
