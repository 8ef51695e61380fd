"""Runs as a process of its own: what a fetch of a model would take, before it begins.

`python -m engines.weights.hub_size OWNER/NAME KIND REVISION NAMES ROOT` -> JSON: `size` and
`missing` in bytes, `commit`, `licence`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from engines.host.child_job import ChildJobFailed, Progress, child_job
from engines.weights.hub import HubModel, Pull, failure_reason
from engines.weights.hub_address import hub_address
from engines.weights.manifest import BadManifest
from engines.weights.patience import patiently
from engines.weights.selection import Selection
from engines.weights.store import WeightsStore


def size(args: Sequence[str], progress: Progress) -> str:
    """A fetch would find the same, unless a branch moves meanwhile."""
    repository, kind, revision, names, root = args
    progress(f"asking {hub_address()} for {repository}", None, None)
    try:
        model = HubModel(repository, revision or None, Selection.of(kind, names))
        pull = Pull(model, WeightsStore(Path(root)), listing := patiently(model.listing, progress))
        told = {"commit": listing.commit, "licence": listing.licence, "size": listing.size}
        return json.dumps({**told, "missing": pull.missing_bytes()})
    except (ChildJobFailed, BadManifest) as e:
        raise ChildJobFailed(str(e)) from None
    except Exception as e:
        raise ChildJobFailed(failure_reason(e, repository, revision)) from e


if __name__ == "__main__":
    child_job(size)
