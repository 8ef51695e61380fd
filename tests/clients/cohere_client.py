# mypy: ignore-errors
"""Cohere's own client, both of its versions: rerank whole and cut, its bill, wrong keys, errors."""

import asyncio
import os

import cohere

URL, KEY = os.environ["FJORD_URL"], os.environ["FJORD_KEY"]
QUERY = "red green blue"
DOCUMENTS = ["nothing of it", "blue and red", "green blue red"]
ASK = {"model": "ranks", "query": QUERY, "documents": DOCUMENTS}
NEWER = cohere.ClientV2(api_key=KEY, base_url=URL, max_retries=0)
OLDER = cohere.Client(api_key=KEY, base_url=URL, max_retries=0)


def indices(answer):
    return [result.index for result in answer.results]


for client, version in ((NEWER, "2"), (OLDER, "1")):
    whole = client.rerank(**ASK)
    assert indices(whole) == [2, 1, 0], whole
    scores = [result.relevance_score for result in whole.results]
    assert (scores[0], scores[2]) == (1.0, 0.0), scores
    assert whole.id.startswith("rerank-")
    assert whole.meta.api_version.version == version
    assert whole.meta.tokens.input_tokens == whole.meta.billed_units.input_tokens > 0
    cut = client.rerank(**ASK, top_n=1)
    assert indices(cut) == [2]
    assert cut.meta.billed_units.input_tokens == whole.meta.billed_units.input_tokens
assert indices(NEWER.rerank(**ASK, max_tokens_per_doc=1)) == [1, 2, 0]
told = OLDER.rerank(**ASK, return_documents=True, top_n=2)
assert [result.document.text for result in told.results] == [DOCUMENTS[2], DOCUMENTS[1]]
fields = [{"text": text, "page": str(page)} for page, text in enumerate(DOCUMENTS)]
assert indices(OLDER.rerank(**{**ASK, "documents": fields})) == [2, 1, 0]


async def beside():
    newer = cohere.AsyncClientV2(api_key=KEY, base_url=URL, max_retries=0)
    answers = await asyncio.gather(*(newer.rerank(**ASK) for _ in range(8)))
    assert all(indices(answer) == [2, 1, 0] for answer in answers)


asyncio.run(beside())


def refused(kind, word, ask):
    error = None
    try:
        ask()
    except kind as caught:
        error = caught
    assert error is not None, f"not refused: {word}"
    assert word in error.body["error"]["message"], error.body
    assert word in str(error), error
    return error


for make in (cohere.ClientV2, cohere.Client):
    stranger = make(api_key="wayscloud_llm_abcdef_nothing", base_url=URL, max_retries=0)
    wrong = refused(cohere.UnauthorizedError, "API key", lambda s=stranger: s.rerank(**ASK))
    assert (wrong.status_code, wrong.body["error"]["code"]) == (401, "AUTH_FAILED")
for client in (NEWER, OLDER):
    for kind, word, wrong in (
        (cohere.NotFoundError, "'nope'", {"model": "nope"}),
        (cohere.BadRequestError, "one of ranks", {"model": "other"}),
        (cohere.BadRequestError, "documents", {"documents": []}),
    ):
        error = refused(kind, word, lambda c=client, w=wrong: c.rerank(**{**ASK, **w}))
        assert error.body["error"]["param"] == next(iter(wrong))
        assert error.headers["x-request-id"]
