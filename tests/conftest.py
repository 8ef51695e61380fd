"""Fixtures every test file may use, and the order in which tests run.

anyio_backend          async tests run on asyncio
engine_case, engine    what a test's `on` names: started once for all the files that run on it
client, sdk            speak to the `served` that a file makes with `server_of`
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support import engine_fixtures

if TYPE_CHECKING:
    import openai

    from tests.support.serving import Served

engine, engine_case = engine_fixtures.engine, engine_fixtures.engine_case


def pytest_configure(config: pytest.Config) -> None:
    """Engines side by side compute on a thread each: several, pinned to the same cores, spin for
    each other."""
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that the end is even; a group's tests follow each other."""
    places: dict[str, int] = {}
    for item in items:
        places.setdefault(group(item), len(places))
    items.sort(key=lambda item: (haste(item), places[group(item)]))


def haste(item: pytest.Item) -> int:
    """0 for what takes tens of seconds, 1 for what takes over ten, 2 for the rest."""
    return next((n for n, mark in enumerate(("vllm", "slow")) if item.get_closest_marker(mark)), 2)


def group(item: pytest.Item) -> str:
    """Tests of one engine or server, or else of one file."""
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark else str(item.path)


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
