"""Calls by a model's own format, whoever the model is; test_features.py asks a real one."""

import pytest

from engines.base import FOUND, Engine
from tests.support.engine_fixtures import on
from tests.support.own_calls import assert_own_calls_are_read

pytestmark = [pytest.mark.anyio, on("vllm-tiny")]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("is_parallel", [True, False], ids=["parallel", "one"])
@pytest.mark.parametrize("parser", ["hermes", FOUND])
async def test_calls_in_the_models_own_format_are_read(
    engine: Engine, parser: str, is_parallel: bool, stream: bool
) -> None:
    await assert_own_calls_are_read(engine, parser, is_parallel, stream)
