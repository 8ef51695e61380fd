"""A seeded prompt that is read in several steps, on a CPU."""

from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm.engine import VllmEngine
from tests.support.engine_fixtures import answer, ask, on, text

pytestmark = pytest.mark.filterwarnings("ignore")
"""vLLM's libraries warn while they are imported."""
LONG = 3000
"""Tokens: more than a step's, and more than a slice's."""


def runner(thrown_away: list[bool], has_output: bool) -> Any:
    import numpy as np
    import torch

    generators = {row: torch.Generator().manual_seed(7 + row) for row in range(len(thrown_away))}
    for generator in generators.values():
        torch.rand(5, generator=generator)
    names = [f"r{row}" for row in generators]
    tokens = [1] if has_output else []
    return SimpleNamespace(
        input_batch=SimpleNamespace(
            generators=generators, num_reqs=len(thrown_away), req_ids=names
        ),
        discard_request_mask=SimpleNamespace(np=np.array(thrown_away)),
        requests={name: SimpleNamespace(output_token_ids=tokens) for name in names},
    )


@pytest.mark.vllm
@pytest.mark.parametrize("has_output", [False, True])
def test_a_token_that_nobody_has_was_never_drawn(has_output: bool) -> None:
    import torch

    from engines.vllm.cpu_generators import begun_anew

    seen: list[set[int]] = []
    made = runner([True, False], has_output)
    begun_anew(lambda runner: seen.append(set(runner.input_batch.generators)))(made)
    generators = made.input_batch.generators
    assert seen == [{1}], "vLLM turns back none that it cannot"
    assert set(generators) == {0, 1}
    fresh = [torch.Generator().manual_seed(7 + row).get_state() for row in range(2)]
    is_fresh = [torch.equal(generators[row].get_state(), fresh[row]) for row in range(2)]
    assert is_fresh == [not has_output, False]


@pytest.mark.anyio
@on("vllm-tiny")
async def test_a_long_seeded_prompt_says_the_same_again_and_ends_no_engine(
    engine: VllmEngine,
) -> None:
    prompt = [5 + number % 90 for number in range(LONG)]
    asked = [ask(prompt=prompt, seed=seed, temperature=1.0, max_tokens=8) for seed in (4, 4, 5)]
    one, two, other = [text(await answer(engine, each)) for each in asked]
    assert one == two != other
