"""One AsyncLLM for all files that take it, its core in this process."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engine_core import in_process_llm


@pytest.fixture(scope="session")
def session_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patched:
        llm = in_process_llm(tmp_path_factory.mktemp("tiny"), patched)
    yield llm
    vars(llm).clear()
    llm.shutdown = nothing  # its __del__ would do it again


def nothing() -> None:
    pass


@pytest.fixture
def llm(session_llm: Any) -> Iterator[Any]:
    """As vLLM made it: a test's output handler ends with it, and its fast path."""
    yield session_llm
    if session_llm.output_handler is not None:
        session_llm.output_handler.cancel()
        session_llm.output_handler = None
    vars(session_llm.output_processor).pop("process_outputs", None)
    vars(session_llm.renderer).pop("get_eos_token_id", None)
    session_llm.engine_core.begin_again()
