"""/v1/files: upload, list, one, content, delete. An owner's files are all its keys'."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import msgspec

from server.accounts.limits import Admission
from server.api.endpoint import KeyedEndpoint
from server.api.files.disk import disk_trouble
from server.api.files.multipart import FileForm
from server.api.files.query import limit_of, one_of, query_of, unknown_after
from server.api.files.taking import PIECE_BYTES, admitted_boundary, take
from server.api.files.wire_answers import DeletedFile, FileList, file_object
from server.api.form_endpoint import FormEndpoint
from server.api.idempotency.taken import TakenBody
from server.batches.files import FileInUse, FilePart, FileStore, NoRoom, OwnedFile
from server.errors import ApiError, brief
from server.http.exchange import ClientLeft, Exchange

MOST_LISTED: Final = 10_000
PURPOSES: Final = ("batch", "batch_output")
_SHORTEST_S, _LONGEST_S = 3600, 30 * 86_400
_FORM_BYTES: Final = 64 * 1024
"""What a form has beside its file."""


class FilesEndpoint(KeyedEndpoint):
    """What files and batches share."""

    @property
    def files(self) -> FileStore:
        return self.services.batches.parts.files

    async def found(self, file_id: str, owner: str) -> OwnedFile:
        """Raises ApiError 404: also for another owner's."""
        with disk_trouble():
            file = await asyncio.to_thread(self.files.find, file_id, owner)
        if file is None:
            raise ApiError(404, "NOT_FOUND", f"There is no file {brief(file_id)!r}.", param="file")
        return file

    async def tell(self, exchange: Exchange, answer: Any) -> int:
        self.services.metrics.answered("", self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode(answer))
        return 0


class Upload(TakenBody):
    """A form whose file is on the disk, and there for nobody yet."""

    def __init__(self, files: FileStore, form: FileForm[FilePart]) -> None:
        super().__init__()
        self._files, self._form = files, form
        self._is_kept = False

    @property
    def known_by(self) -> bytes:
        return self._form.known_by()

    def keep(self) -> OwnedFile:
        """Blocks. Raises ApiError 400, NoRoom, OSError."""
        form = self._form
        part = form.end()
        purpose = _purpose(form.fields)
        expires_s = expiry_of(form.fields)
        file = part.place(form.filename, purpose)
        if expires_s is not None:
            file = msgspec.structs.replace(file, expires_at=file.created_at + expires_s)
        self._files.add(file)
        self._is_kept = True
        return file

    async def close(self) -> None:
        part, self._form.file = self._form.file, None
        if part is not None:
            await asyncio.shield(asyncio.to_thread(self._close, part))

    def _close(self, part: FilePart) -> None:
        try:
            if not self._is_kept:
                part.drop()
        finally:
            self._files.over(part)


class FileUpload(FormEndpoint, FilesEndpoint):
    """POST /v1/files: the form goes to the disk as it comes."""

    takes_key = True

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        upload = await self._take(exchange, admission.caller.owner, is_keyed=False)
        work = self.serve_taken(exchange, admission, upload)
        return await self.serve_and_close(admission, upload, work)

    async def take_form(self, exchange: Exchange, admission: Admission) -> Upload:
        return await self._take(exchange, admission.caller.owner, is_keyed=True)

    async def serve_taken(self, exchange: Exchange, admission: Admission, taken: TakenBody) -> int:
        assert isinstance(taken, Upload)
        with disk_trouble(), _no_room():
            file = await asyncio.to_thread(taken.keep)
        return await self.tell(exchange, file_object(file))

    async def _take(self, exchange: Exchange, owner: str, *, is_keyed: bool) -> Upload:
        try:
            with disk_trouble(), _no_room():
                return await self._taken(exchange, owner, is_keyed)
        except ClientLeft:
            raise
        except Exception:
            await exchange.skip_body()
            raise

    async def _taken(self, exchange: Exchange, owner: str, is_keyed: bool) -> Upload:
        boundary = admitted_boundary(exchange, self._most_bytes, self._too_large)
        form: FileForm[FilePart] = FileForm(
            boundary, lambda: self.files.begin(owner), is_keyed=is_keyed
        )
        upload = Upload(self.files, form)
        try:
            await take(form, exchange, self._most_bytes, self._too_large)
        except BaseException:
            await upload.close()
            raise
        return upload

    @property
    def _most_bytes(self) -> int:
        return self.files.most_bytes + _FORM_BYTES

    def _too_large(self) -> NoRoom:
        return NoRoom(f"A file may have {self.files.most_bytes} bytes; this one has more.")


@contextmanager
def _no_room() -> Iterator[None]:
    """Raises ApiError 413 instead of NoRoom."""
    try:
        yield
    except NoRoom as refusal:
        raise ApiError(413, "REQUEST_TOO_LARGE", str(refusal)) from None


class ListFiles(FilesEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        query = query_of(exchange)
        limit = limit_of(query, MOST_LISTED, MOST_LISTED)
        order = one_of(query, "order", ("asc", "desc"))
        purpose = one_of(query, "purpose", PURPOSES)
        with disk_trouble():
            page = await asyncio.to_thread(
                lambda: self.files.page(
                    admission.caller.owner,
                    after=query.get("after"),
                    limit=limit,
                    purpose=purpose,
                    ascending=order == "asc",
                )
            )
        if page is None:
            raise unknown_after(query.get("after"))
        shown = [file_object(file) for file in page[:limit]]
        answer: FileList = {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(page) > limit,
        }
        return await self.tell(exchange, answer)


class OneFile(FilesEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        file_id = exchange.scope["path_params"]["file_id"]
        file = await self.found(file_id, admission.caller.owner)
        return await self.tell(exchange, file_object(file))


class FileContent(FilesEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        file_id = exchange.scope["path_params"]["file_id"]
        file = await self.found(file_id, admission.caller.owner)
        with disk_trouble():
            opened = await asyncio.to_thread(open, self.files.path(file.file_id), "rb")
        with opened:
            self.services.metrics.answered("", self.endpoint, 200)
            await exchange.reply_in_pieces(
                file.bytes,
                _pieces(opened),
                b"application/octet-stream",
                self.services.settings.send_timeout_s,
            )
        return 0


class DeleteFile(FilesEndpoint):
    method = "DELETE"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        file_id = exchange.scope["path_params"]["file_id"]
        owner = admission.caller.owner
        file = await self.found(file_id, owner)
        try:
            with disk_trouble():
                await asyncio.to_thread(self.files.delete, file.file_id, owner)
        except FileInUse as refusal:
            expected = "a file that no batch reads"
            raise ApiError.invalid(str(refusal), "file", file.file_id, expected) from None
        answer: DeletedFile = {"id": file.file_id, "object": "file", "deleted": True}
        return await self.tell(exchange, answer)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece


def _purpose(fields: Mapping[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose != "batch":
        message = "purpose must be batch: files are kept for batches alone."
        raise ApiError.invalid(message, "purpose", brief(purpose), "batch")
    return purpose


def expiry_of(fields: Mapping[str, str]) -> int | None:
    """Seconds from its making. Raises ApiError 400."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    is_number = seconds is not None and seconds.isascii() and seconds.isdigit()
    if anchor != "created_at" or seconds is None or not is_number or len(seconds) > 9:
        seconds = "-1"
    if not _SHORTEST_S <= int(seconds) <= _LONGEST_S:
        expected = f"anchor created_at and seconds from {_SHORTEST_S} to {_LONGEST_S}"
        message = f"expires_after must have {expected}."
        raise ApiError.invalid(message, "expires_after", None, expected)
    return int(seconds)
