# mypy: ignore-errors
"""LangChain's classes for Jina's and Cohere's rerankers and for Jina's vectors."""

import os
import warnings

warnings.simplefilter("ignore")  # langchain-community says that it is not looked after any more

import cohere  # noqa: E402
from langchain_classic.retrievers.document_compressors import CohereRerank  # noqa: E402
from langchain_community.document_compressors import JinaRerank, jina_rerank  # noqa: E402
from langchain_community.embeddings import JinaEmbeddings, jina  # noqa: E402
from langchain_core.documents import Document  # noqa: E402

URL, KEY = os.environ["FJORD_URL"], os.environ["FJORD_KEY"]
jina_rerank.JINA_API_URL = f"{URL}/v1/rerank"
jina.JINA_API_URL = f"{URL}/v1/embeddings"
QUERY = "red green blue"
TEXTS = ["nothing of it", "blue and red", "green blue red"]
DOCUMENTS = [Document(text, metadata={"page": i}) for i, text in enumerate(TEXTS)]

older = cohere.Client(api_key=KEY, base_url=URL, max_retries=0)
for ranker in (
    JinaRerank(model="ranks", jina_api_key=KEY, top_n=2),
    CohereRerank(model="ranks", client=older, cohere_api_key="unused", top_n=2),
):
    best = ranker.compress_documents(DOCUMENTS, QUERY)
    assert [document.metadata["page"] for document in best] == [2, 1], best
    assert best[0].metadata["relevance_score"] == 1.0
    assert [each["index"] for each in ranker.rerank(TEXTS, QUERY, top_n=None)] == [2, 1, 0]


def refused(word, ask):
    said = ""
    try:
        ask()
    except RuntimeError as error:
        said = str(error)
    assert word in said, said or f"not refused: {word}"


stranger = JinaRerank(model="ranks", jina_api_key="wayscloud_llm_abcdef_nothing")
refused("API key", lambda: stranger.rerank(TEXTS, QUERY))
known = JinaRerank(model="nope", jina_api_key=KEY)
refused("Unknown model 'nope'", lambda: known.rerank(TEXTS, QUERY))

vectors = JinaEmbeddings(model_name="vectors", jina_api_key=KEY)
first, second = vectors.embed_documents(TEXTS[:2])
assert len(first) == len(second) > 1
assert vectors.embed_query(TEXTS[0]) == first
wrong = JinaEmbeddings(model_name="nope", jina_api_key=KEY)
refused("Unknown model 'nope'", lambda: wrong.embed_query("x"))
