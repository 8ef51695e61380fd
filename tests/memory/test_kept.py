"""Kept responses over HTTP: told again to the byte, gone on from, deleted; nobody else's."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engines.testing.pictures import PICTURE_TOKENS
from tests.support.pictures import data_url, picture
from tests.support.responses import ASK, MODELS, WEATHER, events
from tests.support.serving import Served, read_records, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error

URL = "/v1/responses"
served = server_of(
    *MODELS,
    scripted("seeing", images=2),
    scripted("slow", text="a " * 2000, token_delay_s=0.01),
    scripted("dies", text="word " * 50, die_after_tokens=3, token_delay_s=0.001),
)
NOBODY = "resp_" + "0" * 32


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as made:
        yield made


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def made(client: httpx.Client, **body: Any) -> dict[str, Any]:
    return ok(client.post(URL, json=ASK | body))


def text_of(response: dict[str, Any]) -> str:
    return "".join(p["text"] for i in response["output"] for p in i.get("content", ()))


def test_a_response_is_kept_unless_it_says_otherwise(client: httpx.Client) -> None:
    response = made(client, metadata={"a": "b"}, instructions="Be brief")
    assert response["store"] is True
    assert ok(client.get(f"{URL}/{response['id']}")) == response
    for body in ({"store": False}, {"store": False, "stream": True}):
        answer = client.post(URL, json=ASK | body)
        told = events(answer)[-1]["response"] if "stream" in body else answer.json()
        assert told["store"] is False
        assert client.get(f"{URL}/{told['id']}").status_code == 404


@pytest.mark.parametrize("model", ["m", "thinks", "tools"])
def test_its_events_come_again_byte_for_byte_from_any_number_on(
    client: httpx.Client, model: str
) -> None:
    more: dict[str, Any] = {"model": model, "stream": True}
    if model == "tools":
        more |= {"tools": [WEATHER], "tool_choice": "required"}
    answer = client.post(URL, json=ASK | more)
    said, response = answer.content, events(answer)[-1]["response"]
    url = f"{URL}/{response['id']}"
    assert client.get(url, params={"stream": "true"}).content == said
    pieces = said.split(b"\n\n")
    for after in (0, 3, len(pieces) - 3, len(pieces) - 2, len(pieces), 10**8):
        rest = client.get(url, params={"stream": "true", "starting_after": after}).content
        assert rest == b"\n\n".join(pieces[after + 1 :])
    assert ok(client.get(url)) == response


def test_a_whole_response_has_events_too(client: httpx.Client) -> None:
    response = made(client)
    got = events(client.get(f"{URL}/{response['id']}", params={"stream": "true"}))
    assert got[-1]["response"] == response
    assert [e["type"] for e in got][:2] == ["response.created", "response.in_progress"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_next_one_right_behind_the_end_finds_it(client: httpx.Client, is_stream: bool) -> None:
    """The end is said once it is durable: 50 in a row, each going on from the one before."""
    previous, tokens = None, 0
    for i in range(50):
        body = ASK | {"input": f"w{i}", "previous_response_id": previous, "stream": is_stream}
        with client.stream("POST", URL, json=body) as answer:
            answer.read()
        told = events(answer)[-1]["response"] if is_stream else ok(answer)
        assert told["status"] == "completed", told
        assert told["previous_response_id"] == previous
        assert told["usage"]["input_tokens"] > tokens
        previous, tokens = told["id"], told["usage"]["input_tokens"]


def test_a_chain_is_what_the_whole_conversation_would_be(client: httpx.Client) -> None:
    """Items in and out of each, without earlier instructions; billed as if they had been sent."""
    first = made(client, input="one two", instructions="Never mind")
    second = made(client, input="three", previous_response_id=first["id"])
    third = made(client, input="four", previous_response_id=second["id"], store=False)
    whole = [
        {"role": "user", "content": "one two"},
        *first["output"],
        {"role": "user", "content": "three"},
        *second["output"],
        {"role": "user", "content": "four"},
    ]
    sent = made(client, input=whole, store=False)
    assert third["usage"]["input_tokens"] == sent["usage"]["input_tokens"]
    assert (third["store"], third["previous_response_id"]) == (False, second["id"])
    assert client.get(f"{URL}/{third['id']}").status_code == 404


def test_calls_are_answered_over_a_chain(client: httpx.Client) -> None:
    tools = {"model": "tools", "tools": [WEATHER]}
    called = made(client, **tools, tool_choice="required")
    [call] = [item for item in called["output"] if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    for is_stream in (False, True):
        body = ASK | tools | {"input": [result], "previous_response_id": called["id"]}
        answer = client.post(URL, json=body | {"stream": is_stream})
        told = events(answer)[-1]["response"] if is_stream else ok(answer)
        assert told["status"] == "completed"
    lone = ASK | tools | {"input": [result]}
    assert_error(client.post(URL, json=lone), 400, "INVALID_PARAMETER", "input[0].call_id")


def test_thoughts_are_carried_on(client: httpx.Client) -> None:
    thought = made(client, model="thinks")
    assert thought["output"][0]["type"] == "reasoning"
    following = made(client, model="thinks", previous_response_id=thought["id"])
    assert following["status"] == "completed"


def test_pictures_are_carried_on(client: httpx.Client, served: Served) -> None:
    seen = {"type": "input_image", "image_url": data_url(picture())}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "a"}, seen]}]
    first = made(client, model="seeing", input=said)
    assert first["usage"]["input_tokens"] > PICTURE_TOKENS
    onward = made(client, model="seeing", input="b", previous_response_id=first["id"])
    assert onward["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    whole = [*said, *first["output"], {"role": "user", "content": "b"}]
    sent = made(client, model="seeing", input=whole, store=False)
    assert onward["usage"]["input_tokens"] == sent["usage"]["input_tokens"]
    [item] = ok(client.get(f"{URL}/{first['id']}/input_items"))["data"]
    assert item["content"][1] == seen
    blind = client.post(URL, json=ASK | {"previous_response_id": first["id"]})
    assert blind.status_code == 400
    assert len(blind.content) < 2000


def test_what_is_not_kept_is_no_beginning(client: httpx.Client, served: Served) -> None:
    error = client.post(URL, json=ASK | {"previous_response_id": NOBODY})
    assert error.status_code == 400
    told = error.json()["error"]
    assert told["code"] == "previous_response_not_found"  # as OpenAI's clients know it
    assert (told["param"], told["type"]) == ("previous_response_id", "invalid_request_error")
    first = made(client)
    second = made(client, previous_response_id=first["id"])
    ok(client.delete(f"{URL}/{first['id']}"))
    broken = client.post(URL, json=ASK | {"previous_response_id": second["id"]})
    assert broken.json()["error"]["code"] == "previous_response_not_found"
    assert first["id"] in broken.json()["error"]["message"]
    wait_until(
        lambda: read_records(served.data_dir)[-1]["end"] == "rejected", "the refusal's record"
    )


def test_a_broken_answer_is_kept_as_it_was_told(client: httpx.Client) -> None:
    answer = client.post(URL, json=ASK | {"model": "dies", "stream": True})
    told = events(answer)
    assert told[-1]["type"] == "response.failed"
    kept = ok(client.get(f"{URL}/{told[-1]['response']['id']}"))
    assert kept == told[-1]["response"]
    onward = ASK | {"previous_response_id": kept["id"]}
    assert_error(client.post(URL, json=onward), 400, "INVALID_PARAMETER", "previous_response_id")


def test_what_is_no_integer_of_64_bits_comes_back_as_it_was(client: httpx.Client) -> None:
    huge = 10**40
    said = [{"role": "user", "content": "x", "more": huge}]
    response = made(client, input=said, metadata={"a": huge})
    assert ok(client.get(f"{URL}/{response['id']}"))["metadata"] == {"a": huge}
    page = ok(client.get(f"{URL}/{response['id']}/input_items"))
    assert page["data"][0]["more"] == huge


def test_input_items_come_page_by_page(client: httpx.Client) -> None:
    said = [{"role": "user", "content": f"w{i}"} for i in range(5)]
    response = made(client, input=said)
    url = f"{URL}/{response['id']}/input_items"
    page = ok(client.get(url))
    assert [i["content"][0]["text"] for i in page["data"]] == [f"w{i}" for i in (4, 3, 2, 1, 0)]
    assert (page["object"], page["has_more"]) == ("list", False)
    first = ok(client.get(url, params={"order": "asc", "limit": 2}))
    assert [i["content"][0]["text"] for i in first["data"]] == ["w0", "w1"]
    assert (first["first_id"], first["last_id"]) == tuple(i["id"] for i in first["data"])
    assert first["has_more"] is True
    query = {"order": "asc", "limit": 100, "after": first["last_id"]}
    rest = ok(client.get(url, params=query))
    assert [i["content"][0]["text"] for i in rest["data"]] == ["w2", "w3", "w4"]
    for wrong in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_x"}):
        assert client.get(url, params=wrong).status_code == 400, wrong


def test_an_item_may_be_named_instead_of_sent(client: httpx.Client) -> None:
    """As Vercel's SDK does it where store is not off."""
    first = made(client, input="one two three")
    named = {"type": "item_reference", "id": first["output"][0]["id"]}
    sent = [{"role": "user", "content": "x"}, first["output"][0], {"role": "user", "content": "y"}]
    by_name = [sent[0], named, sent[2]]
    whole, short = made(client, input=sent), made(client, input=by_name)
    assert whole["usage"]["input_tokens"] == short["usage"]["input_tokens"]
    onward = made(client, input=[named, sent[2]], previous_response_id=first["id"])
    plain = made(client, input=[sent[2]], previous_response_id=first["id"])
    assert onward["usage"]["input_tokens"] == plain["usage"]["input_tokens"]


def test_deleted_is_gone(client: httpx.Client) -> None:
    response = made(client)
    url = f"{URL}/{response['id']}"
    assert ok(client.delete(url)) == {"id": response["id"], "object": "response", "deleted": True}
    for answer in (client.get(url), client.delete(url), client.get(f"{url}/input_items")):
        assert_error(answer, 404, "NOT_FOUND", None)


def test_another_owner_finds_nothing(client: httpx.Client, served: Served) -> None:
    response = made(client)
    conversation = ok(client.post("/v1/conversations", json={}))
    other = {"X-API-Key": served.new_key(owner="others")}
    same = {"X-API-Key": served.new_key()}
    url, of_conversation = f"{URL}/{response['id']}", f"/v1/conversations/{conversation['id']}"
    with httpx.Client(base_url=served.url, headers=other, timeout=60) as they:
        for answer in (
            they.get(url),
            they.get(url, params={"stream": "true"}),
            they.get(f"{url}/input_items"),
            they.post(f"{url}/cancel"),
            they.delete(url),
            they.get(of_conversation),
            they.post(of_conversation, json={"metadata": {}}),
            they.get(f"{of_conversation}/items"),
            they.delete(of_conversation),
            they.post(URL, json=ASK | {"conversation": conversation["id"]}),
        ):
            assert answer.status_code == 404, answer.text
        onward = they.post(URL, json=ASK | {"previous_response_id": response["id"]})
        assert onward.json()["error"]["code"] == "previous_response_not_found"
        named = [{"type": "item_reference", "id": response["output"][0]["id"]}]
        assert they.post(URL, json=ASK | {"input": named}).status_code == 400
    assert ok(httpx.get(served.url + url, headers=same)) == response
    assert httpx.get(served.url + url).status_code == 401


def test_what_is_asked_wrongly_is_refused(client: httpx.Client) -> None:
    url = f"{URL}/{made(client)['id']}"
    for query in (
        {"stream": "maybe"},
        {"stream": "true", "starting_after": "-1"},
        {"stream": "true", "starting_after": "x"},
        {"stream": "true", "starting_after": "9" * 10},
        {"starting_after": "1"},
    ):
        answer = client.get(url, params=query)
        assert answer.status_code == 400, query
        assert len(answer.content) < 1000
    assert client.post(f"{url}/cancel").status_code == 400
    long = client.get(f"{URL}/{'x' * 5000}")
    assert (long.status_code, len(long.content) < 1000) == (404, True)


def test_a_client_that_leaves_leaves_nothing(client: httpx.Client, served: Served) -> None:
    before = len(kept_ids(served))
    body = ASK | {"model": "slow", "stream": True}
    with client.stream("POST", URL, json=body) as answer:
        assert next(answer.iter_lines()).startswith("event: response.created")
    wait_until(
        lambda: read_records(served.data_dir)[-1]["end"] == "client_left", "the client is missed"
    )
    assert len(kept_ids(served)) == before


def kept_ids(served: Served) -> list[str]:
    memory = served.services.memory
    assert memory is not None
    with memory.vault.transaction() as database:
        return [row[0] for row in database.query("SELECT response_id FROM memory_responses")]


def test_each_is_recorded_once_with_its_whole_prompt(client: httpx.Client, served: Served) -> None:
    first = made(client, input="one two three")
    following = made(client, input="four", previous_response_id=first["id"])
    record = read_records(served.data_dir)[-1]
    assert record["prompt_tokens"] == following["usage"]["input_tokens"]
    assert record["completion_tokens"] == following["usage"]["output_tokens"]
    assert (record["end"], record["endpoint"]) == ("ok", "responses")


def test_a_batch_keeps_nothing(client: httpx.Client) -> None:
    from tests.support.batches import is_over, lines_of, made_batch

    bodies: list[dict[str, Any]] = [{}, {"store": True}, {"previous_response_id": NOBODY}]
    lines = [
        {"custom_id": str(i), "method": "POST", "url": URL, "body": ASK | more}
        for i, more in enumerate(bodies)
    ]
    batch = is_over(client, made_batch(client, lines, endpoint=URL)["id"])
    [answer] = lines_of(client, batch["output_file_id"])
    assert answer["response"]["body"]["store"] is False
    refused = lines_of(client, batch["error_file_id"])
    fields = [line["response"]["body"]["error"]["param"] for line in refused]
    assert fields == ["store", "previous_response_id"]
    assert json.dumps(refused).count("nothing is kept here") >= 2
