"""A bundle carried to a machine with the loopback alone, and what is seen of its server there."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.command import fjord_here
from tests.support.hub import running_hub
from tests.support.loopback_alone import command_alone, why_not
from tests.support.paths import ROOT


@functools.cache
def reason() -> str | None:
    """Why no such machine can be made here; None: it can."""
    return why_not()


def packed(home: Path, registry: str, files: Mapping[str, bytes]) -> Path:
    """A folder with b.tar and site.pub: made of a model that a hub of ours had."""
    (home / "model_registry.yaml").write_text(registry)
    with running_hub() as hub:
        hub.files = dict(files)
        around = {k: v for k, v in hub.environment(home / "hf").items() if k.startswith("HF_")}
        pulled = fjord_here(home, "weights", "pull", **around)
        assert pulled.returncode == 0, pulled.stderr
    assert fjord_here(home, "bundle", "key", "-o", "site").returncode == 0
    made = fjord_here(home, "bundle", "create", "--key", "site.key", "-o", "b.tar")
    assert made.returncode == 0, made.stderr
    return home


def site(carried: Path, home: Path, **variables: str) -> dict[str, Any]:
    """What became of a bundle in a namespace of its own; only two files cross."""
    for name in ("b.tar", "site.pub"):
        os.link(carried / name, home / name)
    around = {k: v for k, v in os.environ.items() if not k.startswith(("FJORD_", "HF_"))}
    around |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(home / "hf"), **variables}
    command = [sys.executable, "-m", "tests.support.offline_site", str(home)]
    ended = subprocess.run(
        command_alone(command), cwd=ROOT, env=around, capture_output=True, text=True, timeout=250
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def beyond(calls: Sequence[str]) -> list[str]:
    """Those of strace's lines that name an address which is not this machine's own: to call it, or
    to be called at it."""
    named = [line for line in calls if re.search(r"sa_family=AF_INET6?\b", line)]
    own = re.compile(r'inet_addr\("127\.|"::1"|"::ffff:127\.')
    return [line for line in named if not own.search(line)]
