"""Fixtures every test file may use."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio: the engines need it."""
    return "asyncio"
