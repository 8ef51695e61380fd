"""Blocks of vLLM's requests: the first everybody's, the rest their owner's."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import pytest

from engines.vllm.fastpath.shared_beginning import behind, part_behind

pytestmark = pytest.mark.vllm

BLOCK = 16
IDS = list(range(200))


Hasher: TypeAlias = Callable[[Any], list[Any]]


@pytest.fixture(scope="module")
def hasher_of() -> Callable[[int], Hasher]:
    """By the tokens of a block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        from vllm.utils.hashing import get_hash_fn_by_name
        from vllm.v1.core import kv_cache_utils

    hash_of = get_hash_fn_by_name("sha256")
    kv_cache_utils.init_none_hash(hash_of)
    return partial(kv_cache_utils.get_request_block_hasher, caching_hash_fn=hash_of)


@pytest.fixture(scope="module")
def hasher(hasher_of: Callable[[int], Hasher]) -> Hasher:
    return hasher_of(BLOCK)


def asked(hasher: Any, salt: str | None, ids: Sequence[int] = IDS, block: int = BLOCK) -> Any:
    """As the engine's process makes it, and as the scheduler takes it."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    params = SamplingParams(max_tokens=64)
    request = Request(
        request_id="r",
        prompt_token_ids=list(ids),
        sampling_params=params,
        pooling_params=None,
        cache_salt=salt,
        block_hasher=hasher,
    )
    part_behind(request, block)
    return request


def alike(one: Any, other: Any) -> int:
    """Blocks that the second finds of the first."""
    pairs = zip(one.block_hashes, other.block_hashes, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(other.block_hashes))


def test_a_salt_alone_is_vllms_own(hasher: Any) -> None:
    a, b, c = (asked(hasher, salt) for salt in ("a", "b", None))
    assert alike(a, asked(hasher, "a")) == len(IDS) // BLOCK
    assert alike(a, b) == alike(a, c) == 0


@pytest.mark.parametrize("shared", [16, 17, 31, 32, 160, 192, 199])
def test_what_comes_before_it_is_everybodys(hasher: Any, shared: int) -> None:
    a, b = (asked(hasher, behind(shared, salt)) for salt in ("a", "b"))
    assert len(a.block_hashes) == len(set(a.block_hashes)) == len(IDS) // BLOCK
    assert alike(a, b) == alike(asked(hasher, None), a) == shared // BLOCK
    assert alike(a, asked(hasher, behind(shared, "a"))) == len(IDS) // BLOCK


def test_less_than_a_block_is_salted_whole(hasher: Any) -> None:
    assert behind(15, "a") == "a"
    assert behind(0, "a") == "a"


@pytest.mark.parametrize("shared", [32, 96, 112])
@pytest.mark.parametrize("step", [1, 7, 16, 40])
def test_answers_go_on_from_it_as_prompts_do(hasher: Any, shared: int, step: int) -> None:
    """A chat's next turn finds what the last one wrote, in whatever steps that was."""
    whole = asked(hasher, behind(shared, "a"))
    grown = asked(hasher, behind(shared, "a"), IDS[:100])
    for begin in range(100, len(IDS), step):
        grown.append_output_token_ids(IDS[begin : begin + step])
    assert grown.block_hashes == whole.block_hashes
    other = asked(hasher, behind(shared, "b"), IDS[:100])
    other.append_output_token_ids(IDS[100:])
    assert alike(whole, other) == shared // BLOCK


def test_another_block_size_than_the_smallest_ends_in_a_whole_block(hasher_of: Any) -> None:
    large = hasher_of(64)
    a, b = (asked(large, behind(144, salt), range(400), 64) for salt in ("a", "b"))
    assert alike(a, b) == 2


@pytest.mark.parametrize("salt", ["fjord-behind:32:", "fjord-behind:32:a:b", "x:32:a"])
def test_odd_salts_part_all_the_same(hasher: Any, salt: str) -> None:
    assert alike(asked(hasher, salt), asked(hasher, behind(32, "z"))) <= 2


@pytest.mark.usefixtures("hasher")
def test_without_prefix_caching_nothing_is_hashed() -> None:
    assert asked(None, behind(32, "a")).block_hashes == []
