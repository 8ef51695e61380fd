"""Runs as a process of its own: what the hub says of a model, without its weights.

`python -m engines.weights.hub_description OWNER/NAME KIND REVISION FILE` (empty: none) -> JSON: the
`path` of what is in the cache, else the `config` and the `bytes` of the weights.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download

from engines.host.child_job import ChildJobFailed, Progress, child_job
from engines.weights.hub import Snapshot, failure_reason


def describe(args: Sequence[str], progress: Progress) -> str:
    """A GGUF that is not here is not described: its sizes stand in its weights' file."""
    repository, kind, revision, file = args
    progress(f"asking for {repository}", None, None)
    is_gguf = kind == "llamacpp"
    try:
        snapshot = Snapshot(repository, revision or None, file if is_gguf else None, kind)
        cached = snapshot.cached()
        if cached is not None:
            return json.dumps({"path": str(cached)})
        if is_gguf:
            raise ChildJobFailed(f"{repository} is not fetched yet; `fjord prepare` fetches it")
        return json.dumps(_of_hub(repository, revision, snapshot))
    except ChildJobFailed:
        raise
    except Exception as e:
        raise ChildJobFailed(failure_reason(e, repository, revision)) from e


def _of_hub(repository: str, revision: str, snapshot: Snapshot) -> dict[str, object]:
    config = hf_hub_download(repository, "config.json", revision=revision or None)
    sizes = snapshot.listed_sizes()
    weights = [size for name, size in sizes.items() if name.endswith((".safetensors", ".bin"))]
    return {"config": json.loads(Path(config).read_text("utf-8")), "bytes": sum(weights)}


if __name__ == "__main__":
    child_job(describe)
