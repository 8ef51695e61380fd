"""/v1/rerank and /v1/score on an engine whose scores are known: how much of the query's words a
document has."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import PairOptions, Score, TextPair
from engines.testing.scripted import ScriptedEngine
from server.api.rerank.wire import MAX_PAIRS
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until
from tests.support.wire_checks import assert_error

RERANK, SCORE = "/v1/rerank", "/v1/score"
QUERY = "red green blue"
DOCUMENTS = ["nothing of it", "blue and red", "green blue red", "blue red green"]
ASK: dict[str, Any] = {"model": "ranks", "query": QUERY, "documents": DOCUMENTS}
PAIRS: dict[str, Any] = {"model": "ranks", "text_1": QUERY, "text_2": DOCUMENTS}
TOKENS = [7, 7, 7, 7]  # three of the query, one between, three of the document

served = server_of(
    scripted("m"),
    scripted("vectors", task="embed"),
    scripted("ranks", task="rerank", context_tokens=12),
    scripted("slow", task="rerank", first_token_delay_s=30),
    scripted("dead", task="rerank", fail_load="no weights here"),
)


@pytest.mark.parametrize("path", [RERANK, "/v2/rerank", "/rerank"])
def test_the_answer_has_coheres_and_jinas_members(client: httpx.Client, path: str) -> None:
    body = client.post(path, json=ASK).json()
    assert body.pop("id").startswith("rerank-")
    results = [(each["index"], each["relevance_score"]) for each in body["results"]]
    assert results == [(2, 1.0), (3, 1.0), (1, pytest.approx(2 / 3)), (0, 0.0)]
    assert all(each.keys() == {"index", "relevance_score"} for each in body.pop("results"))
    tokens = {"input_tokens": sum(TOKENS)}
    version = {"version": "2" if path == "/v2/rerank" else "1"}
    assert body == {
        "object": "list",
        "model": "ranks",
        "usage": {"prompt_tokens": 28, "total_tokens": 28},
        "meta": {"api_version": version, "billed_units": tokens, "tokens": tokens},
    }


@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (0, 4), (1, 1), (4, 4), (2**31 - 1, 4)])
def test_top_n_is_the_most_results(client: httpx.Client, top_n: int | None, count: int) -> None:
    body = client.post(RERANK, json=ASK | {"top_n": top_n}).json()
    assert [each["index"] for each in body["results"]] == [2, 3, 1, 0][:count]
    assert body["usage"]["prompt_tokens"] == sum(TOKENS)  # read is all


def test_documents_come_back_as_they_were_given(client: httpx.Client) -> None:
    given = ["blue", {"text": "red green", "page": 7}]
    body = client.post(RERANK, json=ASK | {"documents": given, "return_documents": True}).json()
    assert [each["document"] for each in body["results"]] == [given[1], {"text": "blue"}]


def test_rank_fields_are_the_members_that_are_read(client: httpx.Client) -> None:
    given = [{"title": "red", "body": "green blue"}, {"title": "grey", "text": QUERY}]
    ask = ASK | {"documents": given, "rank_fields": ["title", "body"]}
    body = client.post(RERANK, json=ask).json()
    assert [each["index"] for each in body["results"]] == [0, 1]
    texts = ["title: red\nbody: green blue", "title: grey"]
    same = client.post(RERANK, json=ASK | {"documents": texts}).json()
    assert body["results"] == same["results"]


def test_a_query_may_be_an_object(client: httpx.Client) -> None:
    body = client.post(RERANK, json=ASK | {"query": {"text": QUERY}}).json()
    assert body["results"] == client.post(RERANK, json=ASK).json()["results"]


@pytest.mark.parametrize("path", [SCORE, "/score"])
def test_scores_come_in_vllms_form_and_in_order(client: httpx.Client, path: str) -> None:
    body = client.post(path, json=PAIRS).json()
    assert body.pop("id").startswith("score-")
    assert isinstance(body.pop("created"), int)
    assert [each["score"] for each in body["data"]] == [0.0, pytest.approx(2 / 3), 1.0, 1.0]
    assert [(e["index"], e["object"]) for e in body.pop("data")] == [(n, "score") for n in range(4)]
    usage = {"prompt_tokens": 28, "total_tokens": 28, "completion_tokens": 0}
    assert body == {"object": "list", "model": "ranks", "usage": usage}


@pytest.mark.parametrize(
    "names",
    [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")],
)
@pytest.mark.parametrize(
    ("first", "second", "scores"),
    [
        ("red", "red", [1.0]),
        (["red"], ["red", "blue"], [1.0, 0.0]),
        (["red", "blue"], ["red", {"text": "red"}], [1.0, 0.0]),
        ({"text": "red"}, "", [0.0]),
    ],
)
def test_pairs_are_one_to_one_one_to_many_or_many_to_as_many(
    client: httpx.Client, names: tuple[str, str], first: Any, second: Any, scores: list[float]
) -> None:
    ask = {"model": "ranks", names[0]: first, names[1]: second}
    body = client.post(SCORE, json=ask).json()
    assert [each["score"] for each in body["data"]] == scores


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": {"text": ""}}, "query"),
        ({"query": None}, "query"),
        ({"query": ["a"]}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": ["a", 1]}, "documents[1]"),
        ({"documents": ["a"] * (MAX_PAIRS + 1)}, "documents"),
        ({"documents": ["a", {"title": "b"}]}, "documents[1].text"),
        ({"documents": [{"text": 3}]}, "documents[0].text"),
        ({"documents": [{"text": "a"}], "rank_fields": ["b", "c"]}, "documents[0]"),
        ({"rank_fields": []}, "rank_fields"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": 1.5}, "top_n"),
        ({"top_n": 2**31}, "top_n"),
        ({"max_tokens_per_doc": -1}, "max_tokens_per_doc"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 4}, "truncate_prompt_tokens"),
        ({"truncate": "MIDDLE"}, "truncate"),
        ({"truncate": False, "truncate_prompt_tokens": 9}, "truncate"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"instruction": ""}, "instruction"),
        ({"instruction": "x" * 8193}, "instruction"),
        ({"max_chunks_per_doc": 10}, "max_chunks_per_doc"),
        ({"raw_scores": True}, "raw_scores"),
        ({"region": "mars"}, "region"),
        ({"model": "m"}, "model"),
        ({"model": "vectors"}, "model"),
    ],
)
def test_a_wrong_field_of_rerank_is_named(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    error = assert_error(client.post(RERANK, json=ASK | change), 400, "INVALID_PARAMETER", field)
    assert error["details"]["field"] == field
    assert error["details"]["expected"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text_1": None}, "text_2"),
        ({"text_1": None, "text_2": None}, "text_1"),
        ({"documents": ["a"]}, "documents"),
        ({"text_1": ["a", "b"]}, "text_1"),
        ({"text_1": []}, "text_1"),
        ({"text_1": ""}, "text_1"),
        ({"text_2": ["a", 1]}, "text_2[1]"),
        ({"text_2": ["a"] * (MAX_PAIRS + 1)}, "text_2"),
        ({"encoding_format": "base64"}, "encoding_format"),
        ({"use_activation": False}, "use_activation"),
        ({"top_n": 3}, "top_n"),
    ],
)
def test_a_wrong_field_of_score_is_named(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    error = assert_error(client.post(SCORE, json=PAIRS | change), 400, "INVALID_PARAMETER", field)
    assert error["details"]["expected"]


def test_as_many_as_may_be_are_taken(client: httpx.Client) -> None:
    body = client.post(RERANK, json=ASK | {"documents": ["red"] * MAX_PAIRS}).json()
    assert len(body["results"]) == MAX_PAIRS
    assert body["usage"]["prompt_tokens"] == 5 * MAX_PAIRS


@pytest.mark.parametrize(
    ("path", "ask", "place"),
    [
        (RERANK, ASK | {"documents": ["short", "word " * 30]}, "documents[1]"),
        (SCORE, PAIRS | {"text_2": ["short", "word " * 30]}, "text_2[1]"),
        (SCORE, PAIRS | {"text_2": "word " * 30}, "text_2"),
    ],
)
def test_a_pair_over_the_context_is_refused_by_its_place_and_costs_nothing(
    served: Served, client: httpx.Client, path: str, ask: dict[str, Any], place: str
) -> None:
    r = client.post(path, json=ask | {"user": f"too long {place}"})
    error = assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", place)
    length = "This model's maximum context length is 12 tokens"
    assert error["message"] == f"{length}; {place} with its query resulted in 35 tokens."
    assert error["details"] == {"prompt_tokens": 35, "max_tokens": None, "context_tokens": 12}
    records = [r for r in read_records(served.data_dir) if r["user"] == f"too long {place}"]
    assert [(r["end"], r["amount"]) for r in records] == [("rejected", 0)]


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens_per_doc": 1}, 5),
        ({"max_tokens_per_doc": 8}, 12),
        ({"truncate_prompt_tokens": 6}, 6),
        ({"truncate_prompt_tokens": -1}, 12),
        ({"truncate": True}, 12),
        ({"truncate": "END"}, 12),
        ({"max_tokens_per_doc": 2, "truncate": True}, 6),
    ],
)
def test_a_document_is_cut_where_that_is_asked_for(
    client: httpx.Client, fields: dict[str, Any], tokens: int
) -> None:
    long = "red" + " word" * 28 + " green"
    body = client.post(RERANK, json=ASK | {"documents": [long]} | fields).json()
    assert body["usage"]["prompt_tokens"] == tokens
    assert body["results"][0]["relevance_score"] == pytest.approx(1 / 3)  # its begin is there


@pytest.mark.parametrize("fields", [{"truncation_side": "left"}, {"truncate": "START"}])
def test_or_at_its_begin(client: httpx.Client, fields: dict[str, Any]) -> None:
    long = "red" + " word" * 28 + " green blue"
    ask = ASK | {"documents": [long], "truncate": True} | fields
    body = client.post(RERANK, json=ask).json()
    assert body["usage"]["prompt_tokens"] == 12
    assert body["results"][0]["relevance_score"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("path", "ask"), [(RERANK, ASK), (SCORE, PAIRS)])
def test_an_answer_leaves_one_record_with_tokens_and_price(
    served: Served, client: httpx.Client, path: str, ask: dict[str, Any]
) -> None:
    client.post(path, json=ask | {"user": f"billed {path}", "agent_id": "a1"})
    [record] = [r for r in read_records(served.data_dir) if r["user"] == f"billed {path}"]
    assert (record["endpoint"], record["end"], record["agent_id"]) == (path[4:], "ok", "a1")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (28, 0)
    assert record["amount"] == 28 * 4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/tokenize", {"prompt": "x"}),
    ],
)
def test_a_reranker_does_nothing_else(
    client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    r = client.post(path, json=body | {"model": "ranks"})
    error = assert_error(r, 400, "INVALID_PARAMETER", "model")
    assert error["message"].startswith("ranks reranks only")


def test_a_client_that_leaves_ends_it_and_pays_nothing(
    served: Served, client: httpx.Client
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(RERANK, json=ASK | {"model": "slow", "user": "leaves"}, timeout=0.3)

    def records() -> list[Any]:
        return [r for r in read_records(served.data_dir) if r["user"] == "leaves"]

    wait_until(lambda: records() != [], "it is recorded")
    assert [(r["end"], r["prompt_tokens"]) for r in records()] == [("client_left", 0)]
    assert served.services.supervisor.in_flight("slow") == 0


def test_a_deadline_ends_it(client: httpx.Client) -> None:
    headers = {"X-Request-Timeout": "0.2"}
    r = client.post(RERANK, json=ASK | {"model": "slow"}, headers=headers)
    assert_error(r, 504, "REQUEST_TIMEOUT")


def test_an_engine_that_dies_is_told_and_costs_nothing(tmp_path: Path) -> None:
    model = scripted("slow", task="rerank", first_token_delay_s=0.5, load="start")
    with serving(tmp_path, model) as server, httpx.Client(headers=server.headers) as client:
        answers: list[httpx.Response] = []
        ask = ASK | {"model": "slow"}
        asking = threading.Thread(
            target=lambda: answers.append(client.post(server.url + RERANK, json=ask))
        )
        asking.start()
        wait_until(lambda: server.services.supervisor.in_flight("slow") == 1, "it runs")
        wait_until(lambda: bool(server.engines), "there is an engine")
        server.engines[0].kill()
        asking.join(30)
        assert answers[0].status_code == 200  # another engine is asked
        [record] = read_records(server.data_dir)
        assert (record["end"], record["prompt_tokens"]) == ("ok", 28)


def test_a_model_that_cannot_load_is_a_503(client: httpx.Client) -> None:
    ask = ASK | {"model": "dead"}
    wait_until(lambda: client.post(RERANK, json=ask).status_code == 503, "it fails")
    assert_error(client.post(RERANK, json=ask), 503, "MODEL_UNAVAILABLE")


def test_the_list_tells_what_a_model_does(client: httpx.Client) -> None:
    models = client.get("/v1/models?details=true").json()["data"]
    assert [each["task"] for each in models] == ["generate", "embed", *["rerank"] * 3]


def test_another_keys_wrong_key_and_models_are_refused(
    served: Served, client: httpx.Client
) -> None:
    other = {"X-API-Key": served.new_key(models=["m"])}
    r = httpx.post(served.url + RERANK, json=ASK, headers=other)
    assert_error(r, 403, "INSUFFICIENT_PERMISSIONS")
    r = httpx.post(served.url + RERANK, json=ASK, headers={"X-API-Key": "wrong"})
    assert_error(r, 401, "AUTH_FAILED")


class Caching(ScriptedEngine):
    """Finds two tokens of each pair in its cache."""

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        made = await super().score(request_id, pairs, options, cache_salt)
        return [replace(each, cached_tokens=2) for each in made]


def test_tokens_of_the_cache_have_their_own_price(tmp_path: Path) -> None:
    model = scripted("ranks", task="rerank")
    with (
        serving(tmp_path, model, build=Caching) as server,
        httpx.Client(headers=server.headers) as client,
    ):
        for path, ask in ((RERANK, ASK), (SCORE, PAIRS)):
            usage = client.post(server.url + path, json=ask).json()["usage"]
            assert usage["prompt_tokens"] == 28
            assert usage["prompt_tokens_details"] == {"cached_tokens": 8}
        records = read_records(server.data_dir)
        assert [(r["prompt_tokens"], r["cached_tokens"]) for r in records] == [(28, 8)] * 2
        assert [r["amount"] for r in records] == [20 * 4 + 8 * 1] * 2


# What clients send: cohere-python's v2/raw_client.py and langchain-community's
# document_compressors/jina_rerank.py


def test_coheres_client_is_answered_as_it_reads(served: Served) -> None:
    body = {"model": "ranks", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    headers = {
        "Authorization": f"Bearer {served.key}",
        "X-Client-Name": "test",
        "X-Fern-Language": "Python",
        "content-type": "application/json",
    }
    body |= {"max_tokens_per_doc": 4096}
    answer = httpx.post(served.url + "/v2/rerank", json=body, headers=headers).json()
    assert [(e["index"], e["relevance_score"]) for e in answer["results"]] == [(2, 1.0), (3, 1.0)]
    assert isinstance(answer["id"], str)
    assert answer["meta"]["billed_units"] == {"input_tokens": 28}


def test_langchains_jina_reranker_reads_results_and_a_refusals_detail(served: Served) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "model": "ranks", "top_n": None}
    headers = {
        "Authorization": f"Bearer {served.key}",
        "Accept-Encoding": "identity",
        "Content-type": "application/json",
        "user-agent": "langchain",
    }
    answer = httpx.post(served.url + RERANK, json=body, headers=headers).json()
    assert len(answer["results"]) == 4
    answer = httpx.post(served.url + RERANK, json=body | {"query": ""}, headers=headers).json()
    assert "query" in answer["detail"]
    assert "results" not in answer
