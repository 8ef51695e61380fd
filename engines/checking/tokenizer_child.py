"""Runs as a process of its own: `python -m engines.checking.tokenizer_child FOLDER` -> JSON, what
transformers makes of its tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path

from engines.checking.code_imports import missing_imports
from engines.host.child_job import ChildJobFailed, Progress, child_job


def loaded(args: Sequence[str], progress: Progress) -> str:
    """Without the model's own code."""
    progress("loading the tokenizer", None, None)
    import transformers
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            args[0], local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a damaged file makes of it
        if "trust_remote_code" in str(error):
            missing = missing_imports(Path(args[0]))
            version = transformers.__version__
            return json.dumps({"needs_code": True, "missing": missing, "version": version})
        raise ChildJobFailed(f"{type(error).__name__}: {error}") from None
    name = type(tokenizer).__name__
    return json.dumps({"needs_code": False, "name": name, "size": len(tokenizer)})


if __name__ == "__main__":
    child_job(loaded)
