"""The body that makes a batch."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

MetadataName: TypeAlias = Annotated[str, StringConstraints(max_length=64)]
MetadataValue: TypeAlias = Annotated[str, StringConstraints(max_length=512)]
BatchEndpoint: TypeAlias = Literal[
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"
]


class OutputExpiry(BaseModel):
    """When a batch's output and error files go."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=30 * 86_400, strict=True)]


class BatchRequest(BaseModel):
    """The body of POST /v1/batches. A field that nobody knows has no effect."""

    model_config = ConfigDict(extra="ignore")

    input_file_id: Annotated[str, Field(max_length=64, description="A file of purpose batch")]
    endpoint: Annotated[BatchEndpoint, Field(description="That every line names, too")]
    completion_window: Annotated[Literal["24h"], Field(description="Only 24h")]
    metadata: Annotated[
        Annotated[dict[MetadataName, MetadataValue], Field(max_length=16)] | None,
        Field(description="Kept, and told with the batch"),
    ] = None
    output_expires_after: OutputExpiry | None = None


BATCH: TypeAdapter[BatchRequest] = TypeAdapter(BatchRequest)
