"""Which prompts of whom llama.cpp may go on from: what only others have sent is nobody's."""

import random
from collections.abc import Sequence

import pytest

from engines.answers.shared_prompts import SharedPrompts
from engines.base import Engine, GenerateRequest, InvalidRequest
from engines.llamacpp.prompt_owners import PromptOwners
from tests.support.engine_fixtures import answer, ask, on


def ids(seed: int, length: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(30_000) for _ in range(length)]


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 100, 1600])
def test_a_prompt_of_another_is_read_anew_and_then_is_ones_own(length: int) -> None:
    owners = PromptOwners()
    assert owners.take(ids(1, length), "a")
    assert owners.take(ids(1, length), "a")
    assert not owners.take(ids(1, length), "b")
    assert owners.take(ids(1, length), "b")
    assert not owners.take(ids(1, length), None)


@pytest.mark.parametrize("length", [5, 16, 20, 64])
def test_what_goes_on_from_anothers_prompt_may_be_its_answer(length: int) -> None:
    owners = PromptOwners()
    assert owners.take(ids(1, length), "a")
    assert owners.take([*ids(1, length), *ids(2, 40)], "a")
    assert not owners.take([*ids(1, length), *ids(3, 40)], "b")


@pytest.mark.parametrize("common", [16, 17, 48])
def test_a_longer_beginning_of_another_is_not_gone_on_from(common: int) -> None:
    owners = PromptOwners()
    own, others = ids(1, common), [*ids(1, common), *ids(2, 64)]
    assert owners.take([*own, *ids(3, 50)], "a")
    owners.take(others, "b")
    assert owners.take([*own, *ids(4, 50)], "a")
    assert not owners.take([*others[:-20], *ids(5, 50)], "a")


def test_what_is_shared_is_everybodys_and_what_follows_is_not() -> None:
    owners, shared = PromptOwners(), ids(1, 100)
    assert owners.take([*shared, *ids(2, 50)], "a", 100)
    assert owners.take([*shared, *ids(3, 50)], "b", 100)
    assert not owners.take([*shared, *ids(2, 50)], "b", 100)
    assert owners.take(shared, "c", 100)


def test_it_remembers_no_more_than_so_many() -> None:
    owners = PromptOwners(most_blocks=10, most_ends=5)
    for seed in range(30):
        owners.take(ids(seed, 64), "a")
    assert len(owners._blocks) <= 10
    assert len(owners._ends) <= 5
    assert not owners.take(ids(29, 64), "b")


def test_many_short_questions_behind_one_beginning_are_bounded() -> None:
    owners = PromptOwners()
    for number in range(2000):
        owners.take([*ids(1, 32), number], "a")
    assert sum(map(len, owners._ends.values())) <= 256


def test_shared_prompts_are_counted_as_the_template_writes_them() -> None:
    asked: list[GenerateRequest] = []

    def token_ids(request: GenerateRequest) -> Sequence[int]:
        asked.append(request)
        system = str((request.messages or ())[0]["content"])
        if system == "refused":
            raise InvalidRequest("no", "messages")
        return [1, *map(ord, system), 2, 3]

    shared = SharedPrompts(token_ids)
    plain, own = ask("Hi"), ask("Hi", shared_prompts=("abc", "refused", "abcdef"))
    assert shared.knows(plain)
    assert shared.count(plain, [1, 97]) == 0
    assert not shared.knows(own)
    assert shared.count(own, [1, *map(ord, "abcdef"), 2, 9]) == 8
    assert shared.knows(own)
    assert [shared.count(own, [1, 97, 0]), shared.count(own, [0]), shared.count(own, [])] == [
        2,
        0,
        0,
    ]
    assert len(asked) == 3
    assert shared.count(ask(prompt="abc", shared_prompts=("abc",)), [1, 97]) == 0


@pytest.mark.anyio
@on("llamacpp-smollm2")
async def test_llamacpp_finds_a_prompt_for_its_own_owner_alone(engine: Engine) -> None:
    long = "What one owner asks is not to be seen by another. " * 30

    async def cached(salt: str, words: str = long, **more: object) -> int:
        request = ask(words, cache_salt=salt, max_tokens=2, **more)
        return (await answer(engine, request))[0].cached_tokens

    await cached("a")
    assert await cached("a") > 300
    assert await cached("b") == 0
    assert await cached("b") > 300
    system = "You answer in the tone of a fjord, deep and cold and slow. " * 30

    async def chat(salt: str, words: str) -> int:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": words}]
        request = ask(messages=messages, cache_salt=salt, max_tokens=2, shared_prompts=(system,))
        return (await answer(engine, request))[0].cached_tokens

    assert await chat("a", "One.") < 50
    assert await chat("b", "Two, and more words than it takes to fill a block of tokens.") > 300
