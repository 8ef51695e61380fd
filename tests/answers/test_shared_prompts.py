"""How much of a prompt is everybody's: a model's shared prompts, as its template writes them."""

from collections.abc import Sequence

from engines.answers.shared_prompts import SharedPrompts
from engines.base import GenerateRequest, InvalidRequest
from tests.support.engine_fixtures import ask


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
