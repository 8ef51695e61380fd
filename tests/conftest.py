"""Fixtures every test file may use, and the order in which tests run.

anyio_backend          async tests run on asyncio
engine_case, engine    what a test's `on` names: started once for all the files that run on it
client, sdk            speak to the `served` that a file makes with `server_of`
"""

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from engines.registry.registry import has_gpu
from tests.support import engine_fixtures
from tests.support.fork_server import fork_engines
from tests.support.schedule import ALONE, FilesAndEngines, has_alone, in_order

if TYPE_CHECKING:
    import openai

    from tests.support.serving import Served

ANSWER_S = 60.0
engine, engine_case = engine_fixtures.engine, engine_fixtures.engine_case


def pytest_configure(config: pytest.Config) -> None:
    """Engines side by side compute on a thread each: several, pinned to the same cores, spin for
    each other. They are forked: one at a time is spawned, as in production. Each server has a data
    directory of its own: what vLLM knows of a model's class (8 s of a core) is found again."""
    set_up_httpx()
    os.environ.setdefault("VLLM_CACHE_ROOT", str(Path.home() / ".cache/vllm"))
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        if sys.platform == "linux" and not has_gpu():
            fork_engines()


def set_up_httpx() -> None:
    """By itself it gives up after 5 s, which a busy machine may take, and each client, so each
    `httpx.get` too, reads all certificates anew: 30 ms of a core, thousands of times."""
    for wait in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, wait, ANSWER_S)
    once = functools.cache(httpx.create_ssl_context)
    pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", once)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the second phase: to import all files for forty tests took as long as some of them."""
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    is_for_alone = str(config.getoption("markexpr")).startswith(ALONE)
    return True if is_test and is_for_alone and not has_alone(collection_path) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """What the second phase would not find is an error of the first."""
    if item.get_closest_marker("alone") and not has_alone(item.path):
        raise pytest.UsageError(f"{item.path} writes its marker other than as mark.alone")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


def pytest_collection_finish() -> None:
    """Every process collects all files: what takes seconds is imported where it is used."""
    if "torch" in sys.modules:
        raise pytest.UsageError("a test file imports torch (or vllm, xgrammar) as it is collected")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files, as `--dist loadfile` says, and the tests of an engine that files share."""
    return FilesAndEngines(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio: the engines need it."""
    return "asyncio"


@pytest.fixture
def client(served: "Served") -> Iterator[httpx.Client]:
    """Speaks to the `served` of the test's own file, with a good key."""
    with httpx.Client(base_url=served.url, headers=served.headers) as c:
        yield c


@pytest.fixture
def sdk(served: "Served") -> Iterator["openai.OpenAI"]:
    """OpenAI's client of the same server; it asks once."""
    import openai

    with openai.OpenAI(base_url=served.url + "/v1", api_key=served.key, max_retries=0) as c:
        yield c
