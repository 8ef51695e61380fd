"""Runs as a process of its own: what the hub says of a model, without its weights.

`python -m engines.weights.hub_description OWNER/NAME KIND REVISION NAMES` (NAMES: a Selection's) ->
JSON: the `path` of what is in the cache, else the `config` and the `bytes` of the weights.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download

from engines.host.child_job import ChildJobFailed, Progress, child_job
from engines.weights.hub import HubModel, failure_reason
from engines.weights.selection import Selection


def describe(args: Sequence[str], progress: Progress) -> str:
    """A GGUF that is not here is not described: its sizes stand in its weights' file."""
    repository, kind, revision, names = args
    progress(f"asking for {repository}", None, None)
    is_gguf = kind == "llamacpp"
    try:
        model = HubModel(repository, revision or None, Selection.of(kind, names))
        cached = model.cached()
        if cached is not None:
            return json.dumps({"path": str(cached)})
        if is_gguf:
            raise ChildJobFailed(f"{repository} is not fetched yet; `fjord prepare` fetches it")
        return json.dumps(_of_hub(model))
    except ChildJobFailed:
        raise
    except Exception as e:
        raise ChildJobFailed(failure_reason(e, repository, revision)) from e


def _of_hub(model: HubModel) -> dict[str, object]:
    config = hf_hub_download(model.repository, "config.json", revision=model.revision)
    files = model.listing().files
    weights = [file.size for file in files if file.name.endswith((".safetensors", ".bin"))]
    return {"config": json.loads(Path(config).read_text("utf-8")), "bytes": sum(weights)}


if __name__ == "__main__":
    child_job(describe)
