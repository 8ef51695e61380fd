"""Fixtures every test file may use."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    import openai

    from tests.support.serving import Served


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
