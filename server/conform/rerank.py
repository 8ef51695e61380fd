"""Checks: scores of pairs of texts, where a model makes them (--rerank-model)."""

from typing import Any

from server.conform import expect
from server.conform.check import declared
from server.conform.target import RERANK, RERANK_PATHS, SCORE, SCORE_PATHS, Target
from server.conform.unmet import Skipped

QUERY = "Hva er hovedstaden i Norge?"
DOCUMENTS = ("Fisk", "Oslo er hovedstaden i Norge.", "Fisk")
LONG = "fjord " * 30_000


@declared("rerank-shape")
def shape(t: Target) -> None:
    """Every rerank path has results by falling relevance, usage and Cohere's meta"""
    for path in RERANK_PATHS:
        body = _ranked(t, path)
        expect.equal("model", body.get("model"), t.options.rerank_model)
        expect.that(isinstance(body.get("id"), str) and body["id"], "id", body)
        scores = [each["relevance_score"] for each in body["results"]]
        expect.equal("order", scores, sorted(scores, reverse=True))
        expect.equal("indices", sorted(each["index"] for each in body["results"]), [0, 1, 2])
        tokens = _tokens(body)
        expect.equal("billed", body["meta"]["billed_units"]["input_tokens"], tokens)


@declared("rerank-shape")
def equals(t: Target) -> None:
    """The same document twice has the same score, and the first of the two comes first"""
    found = {each["index"]: each["relevance_score"] for each in _ranked(t)["results"]}
    expect.that(abs(found[0] - found[2]) < 1e-2, "the same score", found)


@declared("rerank-top-n")
def top_n(t: Target) -> None:
    """top_n has the most relevant alone; all are read and billed; 0 and more than there are: all"""
    whole = _ranked(t)
    first = _ranked(t, top_n=1)
    expect.equal("results", len(first["results"]), 1)
    expect.equal("tokens", _tokens(first), _tokens(whole))
    for count in (0, 100):
        expect.equal("results", len(_ranked(t, top_n=count)["results"]), 3)


@declared("rerank-documents")
def documents(t: Target) -> None:
    """return_documents gives each as it came; without it there is none; rank_fields are read"""
    given = ["Fisk", {"text": "Oslo", "page": 7}]
    shown = _ranked(t, documents=given, return_documents=True)["results"]
    by_index = {each["index"]: each["document"] for each in shown}
    expect.equal("documents", by_index, {0: {"text": "Fisk"}, 1: given[1]})
    bare = _ranked(t)["results"]
    expect.that(all("document" not in each for each in bare), "no document", bare)
    objects = [{"title": "Oslo", "body": "hovedstaden"}]
    read = _ranked(t, documents=objects, rank_fields=["title", "body"])
    same = _ranked(t, documents=["title: Oslo\nbody: hovedstaden"])
    expect.equal("tokens", _tokens(read), _tokens(same))


@declared("score-shape")
def scores(t: Target) -> None:
    """Every score path has a score for each pair in their order, under all names of the fields"""
    names = (
        ("text_1", "text_2"),
        ("queries", "documents"),
        ("queries", "items"),
        ("data_1", "data_2"),
    )
    for path in SCORE_PATHS:
        body = _scored(t, path, text_1=QUERY, text_2=list(DOCUMENTS))
        expect.equal("indices", [each["index"] for each in body["data"]], [0, 1, 2])
        expect.equal("object", body["data"][0].get("object"), "score")
        expect.that(isinstance(body["data"][0]["score"], float | int), "a number", body)
        _tokens(body)
    for first, second in names:
        body = _scored(t, SCORE, **{first: [QUERY, "Fisk"], second: ["Oslo", "Hai"]})
        expect.equal("scores", len(body["data"]), 2)


@declared("rerank-refused")
def refused(t: Target) -> None:
    """What is missing, empty, out of range or out of proportion: 400 naming it"""
    usual = {"model": _model(t), "query": QUERY, "documents": ["Fisk"]}
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["Fisk", 1]}, "documents[1]"),
        ({"documents": [{"title": "Fisk"}]}, "documents[0].text"),
        ({"top_n": -1}, "top_n"),
        ({"max_tokens_per_doc": -1}, "max_tokens_per_doc"),
    )
    for change, field in wrong:
        error = expect.refused(t.post(RERANK, usual | change), 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), field)
    body = {"model": _model(t), "text_1": ["a", "b"], "text_2": ["a", "b", "c"]}
    error = expect.refused(t.post(SCORE, body), 400, "INVALID_PARAMETER")
    expect.equal("error.param", error.get("param"), "text_1")


@declared("rerank-context")
def context(t: Target) -> None:
    """A document that is too long with its query is named by its index, and none is read"""
    body = {"model": _model(t), "query": QUERY, "documents": ["Fisk", LONG * 10]}
    error = expect.refused(t.post(RERANK, body), 400, "CONTEXT_LENGTH_EXCEEDED")
    expect.equal("error.param", error.get("param"), "documents[1]")


@declared("rerank-truncate")
def cut(t: Target) -> None:
    """max_tokens_per_doc, truncate_prompt_tokens and truncate cut the document"""
    short = _tokens(_ranked(t, documents=["fjord fjord fjord"], max_tokens_per_doc=1))
    again = _tokens(_ranked(t, documents=[LONG], max_tokens_per_doc=1))
    expect.equal("tokens", again, short)
    most = short + 4
    for side in (None, "left", "right"):
        body = _ranked(t, documents=[LONG], truncate_prompt_tokens=most, truncation_side=side)
        expect.that(short <= _tokens(body) <= most, f"at most {most} tokens", body["usage"])
    for value in (True, "START", "END"):
        expect.equal("results", len(_ranked(t, documents=[LONG], truncate=value)["results"]), 1)


@declared("rerank-task")
def task(t: Target) -> None:
    """A model that reranks does nothing else, and no other does: 400 naming model"""
    said = {"messages": t.said("Hei"), "max_tokens": 1}
    chat = t.post("/v1/chat/completions", {"model": _model(t)} | said)
    rerank = t.post(RERANK, {"model": t.model, "query": QUERY, "documents": ["Fisk"]})
    for answer in (chat, rerank):
        error = expect.refused(answer, 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), "model")


def _model(t: Target) -> str:
    if t.options.rerank_model is None:
        raise Skipped("name a model that reranks with --rerank-model")
    return t.options.rerank_model


def _ranked(t: Target, path: str = RERANK, **fields: Any) -> Any:
    usual = {"model": _model(t), "query": QUERY, "documents": list(DOCUMENTS)}
    return expect.ok(t.post(path, usual | fields))


def _scored(t: Target, path: str, /, **fields: Any) -> Any:
    return expect.ok(t.post(path, {"model": _model(t)} | fields))


def _tokens(body: Any) -> int:
    usage = body.get("usage") or {}
    counted = expect.is_count(usage.get("prompt_tokens")) and usage["prompt_tokens"] > 0
    expect.that(counted, "usage.prompt_tokens", usage)
    expect.equal("total_tokens", usage.get("total_tokens"), usage["prompt_tokens"])
    return int(usage["prompt_tokens"])
