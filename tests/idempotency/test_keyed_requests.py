"""Idempotency-Key: a request that comes again gets the first one's answer, and is billed once."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import anthropic
import httpx
import openai
import pytest

from engines.registry.spec import EngineSpec, ModelSpec
from server.idempotency.store import FILE_NAME
from server.ledger.records import KeyLimits
from tests.support.batches import upload
from tests.support.keyed import CHAT, REPLAYED, SAID, SLOW, both_ways, chat, records
from tests.support.serving import Served, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error

ASK: Final[dict[str, dict[str, Any]]] = {
    CHAT: {"messages": SAID},
    "/v1/llm/chat": {"messages": SAID},
    "/v1/completions": {"prompt": "Hi you"},
    "/v1/responses": {"input": "Hi you"},
    "/v1/messages": {"messages": SAID, "max_tokens": 100},
    "/api/chat": {"messages": SAID},
    "/api/generate": {"prompt": "Hi you"},
}
EMBED: Final = {"/v1/embeddings": {"input": "Hi"}, "/api/embed": {"input": "Hi"}}
served = server_of(
    scripted("m"),
    scripted("slow", **SLOW),
    scripted("other"),
    scripted("dies", text="one two three four", die_after_tokens=2),
    ModelSpec(
        alias="vectors",
        engine=EngineSpec(kind="scripted", source="vectors", task="embed"),
        context_tokens=512,
        output_tokens=1,
    ),
)
_numbers = count()


@pytest.fixture
def key() -> dict[str, str]:
    """The header, with a key that no other test has."""
    return {"Idempotency-Key": f"k-{next(_numbers)}"}


@both_ways
@pytest.mark.parametrize("path", ASK)
def test_a_retry_gets_the_first_answer_and_one_record(
    client: httpx.Client, served: Served, key: dict[str, str], path: str, stream: bool
) -> None:
    before, body = len(records(served)), ASK[path] | {"model": "m", "stream": stream}
    first, second, third = (client.post(path, json=body, headers=key) for _ in range(3))
    assert first.status_code == 200, first.text
    assert first.content == second.content == third.content
    assert len(first.content) > 50
    assert first.headers["content-type"] == second.headers["content-type"]
    assert [REPLAYED in r.headers for r in (first, second, third)] == [False, True, True]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(records(served)) == before + 1


@pytest.mark.parametrize("path", EMBED)
def test_vectors_too(client: httpx.Client, served: Served, key: dict[str, str], path: str) -> None:
    before, body = len(records(served)), EMBED[path] | {"model": "vectors"}
    first, second = (client.post(path, json=body, headers=key) for _ in range(2))
    assert (first.status_code, first.content) == (200, second.content)
    assert len(records(served)) == before + 1


def test_what_costs_nothing_has_no_key(client: httpx.Client, key: dict[str, str]) -> None:
    for text in ("Hi", "Hi you"):
        answer = client.post("/v1/tokenize", json={"model": "m", "prompt": text}, headers=key)
        assert answer.status_code == 200
        assert REPLAYED not in answer.headers


@both_ways
def test_two_at_once_are_one(
    client: httpx.Client, served: Served, key: dict[str, str], stream: bool
) -> None:
    before, body = len(records(served)), chat(stream, "slow")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, CHAT, json=body, headers=key) for _ in range(8)]
        answers = [each.result() for each in asked]
    assert {r.status_code for r in answers} == {200}
    assert len({r.content for r in answers}) == 1
    assert sum(REPLAYED in r.headers for r in answers) == 7
    assert len(records(served)) == before + 1


@both_ways
def test_another_body_is_refused_also_while_the_first_runs(
    client: httpx.Client, served: Served, key: dict[str, str], stream: bool
) -> None:
    body, other = chat(stream, "slow"), chat(stream, "slow", seed=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, CHAT, json=body, headers=key)
        wait_until(lambda: served.services.keyed._running, "the first runs")
        refused = client.post(CHAT, json=other, headers=key)
        assert_error(refused, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
        assert not first.done()
        assert first.result().status_code == 200
    refused = client.post(CHAT, json=other, headers=key)
    assert_error(refused, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
    assert client.post(CHAT, json=body, headers=key).content == first.result().content


def test_an_owner_never_gets_anothers_answer(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    body = chat()
    first = client.post(CHAT, json=body, headers=key)
    stranger = served.new_key(owner="strangers")
    theirs = client.post(CHAT, json=body, headers=key | {"X-API-Key": stranger})
    assert (theirs.status_code, REPLAYED in theirs.headers) == (200, False)
    assert theirs.json()["id"] != first.json()["id"]
    mate = served.new_key()
    same = client.post(CHAT, json=body, headers=key | {"X-API-Key": mate})
    assert same.content == first.content
    for wrong in ("wayscloud_llm_abcdef_nothing", ""):
        r = client.post(CHAT, json=body, headers=key | {"X-API-Key": wrong})
        assert_error(r, 401, "AUTH_FAILED")


def test_a_key_without_the_model_does_not_get_its_answer(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    client.post(CHAT, json=chat(), headers=key)
    narrow = served.new_key(models=("other",))
    refused = client.post(CHAT, json=chat(), headers=key | {"X-API-Key": narrow})
    assert_error(refused, 403, "INSUFFICIENT_PERMISSIONS")


def test_each_path_has_keys_of_its_own(client: httpx.Client, key: dict[str, str]) -> None:
    for path in ASK:
        answer = client.post(path, json=ASK[path] | {"model": "m"}, headers=key)
        assert (answer.status_code, REPLAYED in answer.headers) == (200, False)


@pytest.mark.parametrize("value", ["", "k" * 256, "k\tk", "blåbær".encode().decode("latin-1")])
def test_a_key_is_printable_and_short(client: httpx.Client, value: str) -> None:
    headers = {"Idempotency-Key": value.encode("latin-1")}
    answer = client.post(CHAT, json=chat(), headers=headers)  # type: ignore[arg-type]
    assert_error(answer, 400, "INVALID_PARAMETER", "Idempotency-Key")


@pytest.mark.parametrize(
    "value", ["k", "k" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a b~!"]
)
def test_keys_of_every_form(client: httpx.Client, value: str) -> None:
    first, second = (
        client.post(CHAT, json=chat(), headers={"Idempotency-Key": value}) for _ in range(2)
    )
    assert (first.status_code, first.content) == (200, second.content)


def test_a_request_has_one_key(client: httpx.Client) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = client.post(CHAT, json=chat(), headers=headers)
    assert_error(answer, 400, "INVALID_PARAMETER", "Idempotency-Key")


@both_ways
def test_a_refused_first_is_not_remembered(
    client: httpx.Client, key: dict[str, str], stream: bool
) -> None:
    for _ in range(2):
        refused = client.post(CHAT, json=chat(stream, temperature=9), headers=key)
        assert_error(refused, 400, "INVALID_PARAMETER", "temperature")
    answer = client.post(CHAT, json=chat(stream), headers=key)
    assert (answer.status_code, REPLAYED in answer.headers) == (200, False)


def test_a_stream_that_broke_is_not_remembered(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    before = len(records(served))
    for _ in range(2):
        broken = client.post(CHAT, json=chat(True, "dies"), headers=key)
        assert REPLAYED not in broken.headers
    assert len(records(served)) >= before + 2


def test_a_client_that_is_cut_off_gets_all_of_it_next_time(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    before, body = len(records(served)), chat(True, "slow")
    with client.stream("POST", CHAT, json=body, headers=key) as cut:
        head = next(cut.iter_raw())
    again = client.post(CHAT, json=body, headers=key)
    assert again.content.startswith(head)
    assert again.content.endswith(b"data: [DONE]\n\n")
    assert again.text.count("word") >= 40
    assert again.headers[REPLAYED] == "true"
    later = client.post(CHAT, json=body, headers=key)
    assert later.content == again.content
    [record] = records(served)[before:]
    assert (record["end"], record["completion_tokens"]) == ("ok", 41)


def test_a_whole_answer_outlives_its_client(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    before, body = len(records(served)), chat(False, "slow")
    with pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json=body, headers=key, timeout=httpx.Timeout(60, read=0.2))
    again = client.post(CHAT, json=body, headers=key)
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    assert len(records(served)) == before + 1


def test_a_retry_that_leaves_ends_nothing(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    body = chat(True, "slow")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, CHAT, json=body, headers=key)
        wait_until(lambda: served.services.keyed._running, "the first runs")
        with client.stream("POST", CHAT, json=body, headers=key) as cut:
            next(cut.iter_raw())
        assert first.result().content.endswith(b"data: [DONE]\n\n")


def test_a_retry_needs_no_slot_of_its_own(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    headers = key | {"X-API-Key": served.new_key(limits=KeyLimits(concurrent=1))}
    body, other = chat(True, "slow"), {"Idempotency-Key": "of another request"}
    with client.stream("POST", CHAT, json=body, headers=headers) as cut:
        next(cut.iter_raw())
    refused = client.post(CHAT, json=body, headers=headers | other)
    assert_error(refused, 429, "CONCURRENCY_LIMIT_EXCEEDED")
    again = client.post(CHAT, json=body, headers=headers)
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    wait_until(
        lambda: client.post(CHAT, json=chat(), headers=headers | other).status_code == 200,
        "the slot is free again",
    )


def test_openais_client_asks_again_with_the_key(served: Served, key: dict[str, str]) -> None:
    before = len(records(served))
    with openai.OpenAI(
        base_url=served.url + "/v1", api_key=served.key, max_retries=3, timeout=0.4
    ) as sdk:  # the answer takes twice its patience
        answer = sdk.chat.completions.create(
            model="slow", messages=[{"role": "user", "content": "Hi"}], extra_headers=key
        )
    assert answer.choices[0].message.content == SLOW["text"]
    assert len(records(served)) == before + 1


def test_anthropics_client_does_so_too(served: Served, key: dict[str, str]) -> None:
    before = len(records(served))
    with anthropic.Anthropic(
        base_url=served.url, api_key=served.key, max_retries=3, timeout=0.4
    ) as sdk:
        message = sdk.messages.create(
            model="slow",
            max_tokens=100,
            messages=[{"role": "user", "content": "Hi"}],
            extra_headers=key,
        )
    assert message.content[0].text == SLOW["text"]  # type: ignore[union-attr]
    assert len(records(served)) == before + 1


def test_a_day_later_it_is_a_new_request(
    client: httpx.Client, served: Served, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.post(CHAT, json=chat(), headers=key)
    now = time.time()
    monkeypatch.setattr(served.services.keyed, "clock", lambda: now + 86_000)
    assert client.post(CHAT, json=chat(), headers=key).content == first.content
    monkeypatch.setattr(served.services.keyed, "clock", lambda: now + 86_500)
    later = client.post(CHAT, json=chat(seed=1), headers=key)
    assert (later.status_code, REPLAYED in later.headers) == (200, False)


def test_nothing_readable_lies_on_the_disk(
    client: httpx.Client, served: Served, key: dict[str, str]
) -> None:
    client.post(CHAT, json=chat(model="slow"), headers={"Idempotency-Key": "SECRET-KEY-OF-MINE"})
    files = sorted(served.data_dir.glob("idempotency*"))
    assert {f.name for f in files} >= {FILE_NAME, "idempotency.key"}
    for file in files:
        assert file.stat().st_mode & 0o077 == 0
        for word in (b"word7", b"SECRET", b"chat.completion", b"tests"):
            assert word not in file.read_bytes()


def test_a_batch_is_made_once(client: httpx.Client, served: Served, key: dict[str, str]) -> None:
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": chat()}
    body = {
        "input_file_id": upload(client, [line]), "endpoint": CHAT, "completion_window": "24h",
    }  # fmt: skip
    first, second = (client.post("/v1/batches", json=body, headers=key) for _ in range(2))
    assert (first.status_code, first.content) == (200, second.content)
    assert len(client.get("/v1/batches").json()["data"]) == 1
