"""Node's clients, unmodified, against a live server: three vendors' own, and the Vercel AI SDK."""

import os
import shutil
import subprocess

import pytest

from engines.base import Reasoning
from engines.registry.spec import EngineSpec, ModelSpec
from tests.support.paths import NODE as FOLDER
from tests.support.serving import Served, scripted, server_of

pytestmark = pytest.mark.slow

SCRIPTS = ("openai_client.mjs", "ollama_client.mjs", "anthropic_client.mjs", "ai_sdk.mjs")
VECTORS = EngineSpec(kind="scripted", source="vectors", task="embed")
served = server_of(
    scripted("mixtral-8x7b", tool_parser="hermes"),
    scripted("agent", tool_parser="hermes", calls_tools=True),
    scripted("long", text="word " * 2000, token_delay_s=0.01),
    scripted("thinking", text="Oslo.", reasoning=Reasoning(), reasoning_text="Norway, so Oslo."),
    ModelSpec(alias="vectors", engine=VECTORS, context_tokens=512, output_tokens=1),
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_client(served: Served, script: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here")
    if not (FOLDER / "node_modules").exists():
        pytest.skip("no tests/node/node_modules: `make clients` makes it")
    done = subprocess.run(
        [node, script],
        env={**os.environ, "FJORD_URL": served.url, "FJORD_KEY": served.key},
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_host() -> None:
    assert '"resolved"' not in (FOLDER / "package-lock.json").read_text()
