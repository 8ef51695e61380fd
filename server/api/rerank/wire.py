"""Wire types of rerank and score requests."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from server.api.chat.wire import Asked
from server.api.chat.wire_values import MAX_MEMBERS, Wire
from server.api.embedding_truncation import MostTokens, Side, Truncate

MAX_PAIRS = 2048
MAX_RANK_FIELDS = 64
MAX_INSTRUCTION = 8192

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Text = Annotated[str, Field(min_length=1)]
Instruction = Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTION)]


class TextObject(Wire):
    text: str


Asking = Text | TextObject
Document = str | Annotated[dict[str, Any], Field(max_length=MAX_MEMBERS)]
Documents = Annotated[list[Document], Field(min_length=1, max_length=MAX_PAIRS, fail_fast=True)]
Texts = (
    str
    | TextObject
    | Annotated[list[str | TextObject], Field(min_length=1, max_length=MAX_PAIRS, fail_fast=True)]
)


class PairFields(Asked):
    """How pairs are read, on both endpoints."""

    max_tokens_per_doc: Annotated[
        Count | None, Field(description="A longer document is cut to so many tokens; 0: none is")
    ] = None
    truncate_prompt_tokens: Annotated[
        MostTokens | None,
        Field(description="A longer pair's document is cut until both have so many; -1: as fit"),
    ] = None
    truncation_side: Annotated[
        Side | None, Field(description="Where a document is cut; right if not given")
    ] = None
    truncate: Annotated[
        Truncate | None, Field(description="true, START or END: as truncate_prompt_tokens -1")
    ] = None
    instruction: Annotated[
        Instruction | None,
        Field(description="What relevance means, where the model's prompt has a place for it"),
    ] = None


class RerankRequest(PairFields):
    """The body of the rerank endpoints."""

    query: Annotated[Asking, Field(description="A text, or an object with a `text`")]
    documents: Annotated[
        Documents, Field(description="Texts, or objects with a `text` or with `rank_fields`")
    ]
    top_n: Annotated[
        Count | None, Field(description="Only so many of the most relevant; 0: all")
    ] = None
    return_documents: Annotated[
        bool | None, Field(description="Each result has its document, too")
    ] = None
    rank_fields: Annotated[
        Annotated[list[Text], Field(min_length=1, max_length=MAX_RANK_FIELDS)] | None,
        Field(description="Of documents that are objects, the members that are read"),
    ] = None


class ScoreRequest(PairFields):
    """The body of the score endpoints: one of the pairs of fields, one to one, one to many, or as
    many to as many."""

    text_1: Annotated[Texts | None, Field(description="One query, or as many as text_2 has")] = None
    text_2: Annotated[Texts | None, Field(description="What is scored for it")] = None
    queries: Annotated[Texts | None, Field(description="Another name of text_1")] = None
    documents: Annotated[Texts | None, Field(description="Another name of text_2")] = None
    items: Annotated[Texts | None, Field(description="Another name of documents")] = None
    data_1: Annotated[Texts | None, Field(description="Another name of text_1")] = None
    data_2: Annotated[Texts | None, Field(description="Another name of text_2")] = None
    encoding_format: Annotated[Literal["float"] | None, Field(description="Scores are numbers")] = (
        None
    )


RERANK: TypeAdapter[RerankRequest] = TypeAdapter(RerankRequest)
SCORE: TypeAdapter[ScoreRequest] = TypeAdapter(ScoreRequest)
