"""Files as OpenAI's API tells of them."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from server.batches.files import OwnedFile


class FileObject(TypedDict):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: Annotated[int | None, Field(description="null: it stays until it is deleted")]
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"]
    status_details: None


class FileList(TypedDict):
    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(TypedDict):
    id: str
    object: Literal["file"]
    deleted: Literal[True]


def file_object(file: OwnedFile) -> FileObject:
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": "batch" if file.purpose == "batch" else "batch_output",
        "status": "processed",
        "status_details": None,
    }
