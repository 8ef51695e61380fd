"""The form of a transcription: its recording goes to a file without a name as it comes."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from server.api.files.disk import disk_trouble
from server.api.files.multipart import FileForm, FormKind
from server.api.files.taking import admitted_boundary, take
from server.api.idempotency.taken import TakenBody
from server.errors import ApiError
from server.http.exchange import ClientLeft, Exchange

FORM: Final = FormKind(
    "multipart/form-data with the fields file and model", 16 * 1024, names_matter=False
)
_BESIDE_BYTES: Final = 256 * 1024
"""What a form has beside its file."""
_ARRAY: Final = "[]"


class Recording:
    """A file that is gone when it is closed, or this process is."""

    def __init__(self, most_bytes: int) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - SpeechForm closes it
        self._most_bytes, self._bytes = most_bytes, 0

    def write(self, piece: bytes) -> None:
        self._bytes += len(piece)
        if self._bytes > self._most_bytes:
            raise too_large(self._most_bytes)
        self.file.write(piece)

    def begin(self) -> None:
        """From where it is read."""
        self.file.flush()
        os.lseek(self.file.fileno(), 0, os.SEEK_SET)


def too_large(most_bytes: int) -> ApiError:
    message = f"A recording may have {most_bytes} bytes; this one has more."
    return ApiError(413, "REQUEST_TOO_LARGE", message, param="file")


class SpeechForm(TakenBody):
    """One request's, taken once. `close` it: its file lasts until then."""

    def __init__(self, most_bytes: int, *, is_keyed: bool = False) -> None:
        super().__init__()
        self._most_bytes, self._is_keyed = most_bytes, is_keyed
        self._form: FileForm[Recording] | None = None

    @property
    def known_by(self) -> bytes:
        assert self._form is not None
        return self._form.known_by()

    async def read(self, exchange: Exchange) -> tuple[Recording, bytes]:
        """The recording, and the other fields as a JSON object. Raises ApiError, ClientLeft."""
        form = await self.take(exchange)
        with disk_trouble("Recordings"):
            recording = form.end()
            await asyncio.to_thread(recording.begin)
        return recording, self.body

    async def take(self, exchange: Exchange) -> FileForm[Recording]:
        """All of it, as `read`."""
        if self._form is None:
            try:
                await self._take(exchange)
            except ClientLeft:
                raise
            except Exception:
                await exchange.skip_body()
                raise
        assert self._form is not None
        return self._form

    async def _take(self, exchange: Exchange) -> None:
        most, refusal = self._most_bytes + _BESIDE_BYTES, partial(too_large, self._most_bytes)
        boundary = admitted_boundary(exchange, most, refusal, FORM)
        self._form = form = FileForm(
            boundary, lambda: Recording(self._most_bytes), FORM, is_keyed=self._is_keyed
        )
        with disk_trouble("Recordings"):
            await take(form, exchange, most, refusal)
        self.body = msgspec.json.encode(members_of(form.values))

    async def close(self) -> None:
        if self._form is not None and self._form.file is not None:
            await asyncio.to_thread(self._form.file.file.close)


def members_of(values: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A form's fields as JSON has them: `name[]` is an array, a number and a truth are none of
    text. What is written otherwise stays a text, which its check then refuses by name."""
    members: dict[str, Any] = {}
    for name, value in values:
        if name.endswith(_ARRAY):
            name = name.removesuffix(_ARRAY)
            before = members.get(name)
            members[name] = [*before, value] if isinstance(before, list) else [value]
        else:
            members[name] = _typed(name, value)
    return members


def _typed(name: str, value: str) -> Any:
    if name == "stream" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if name == "temperature":
        try:
            number = msgspec.json.decode(value, type=float)
        except msgspec.DecodeError:
            return value
        return number
    return value
