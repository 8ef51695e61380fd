"""Every operation of files."""

from functools import partial
from typing import Any, Final

from server.api.files import endpoints as files
from server.api.files import wire_answers as answers
from server.api.openapi.operation import Operation

_FORM: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "purpose"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "purpose": {"const": "batch"},
                    "expires_after[anchor]": {"const": "created_at"},
                    "expires_after[seconds]": {"type": "integer"},
                },
            }
        }
    },
}
_own = partial(Operation, tag="files")
FILE_OPERATIONS: tuple[Operation, ...] = (
    _own(
        paths=("/v1/files",),
        build=files.FileUpload,
        summary="Upload a file of requests",
        description="For a batch: a line of JSON each. It is written to the disk as it comes.",
        verb="post",
        raw_body=_FORM,
        takes_key=True,
        answer=answers.FileObject,
    ),
    _own(
        paths=("/v1/files",),
        build=files.ListFiles,
        summary="List files",
        description="The newest first: those of the key's owner.",
        query={"after": "string", "limit": "integer", "order": "string", "purpose": "string"},
        answer=answers.FileList,
    ),
    _own(
        paths=("/v1/files/{file_id}",),
        build=files.OneFile,
        summary="One file",
        answer=answers.FileObject,
    ),
    _own(
        paths=("/v1/files/{file_id}",),
        build=files.DeleteFile,
        summary="Delete a file",
        description="Refused while a batch reads it.",
        verb="delete",
        answer=answers.DeletedFile,
    ),
    _own(
        paths=("/v1/files/{file_id}/content",),
        build=files.FileContent,
        summary="A file's bytes",
        answer=None,
        media_type="application/octet-stream",
    ),
)
