"""Forms of pages: small, of a browser, in words that a database keeps."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request

MOST_BYTES: Final = 64 * 1024
MOST_FIELDS: Final = 200
_URLENCODED: Final = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """The message is fit for the page; `status`: 400, 403, 413 or 415."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def form_of(request: Request) -> FormData:
    """Read once, and kept by the request. Raises BadForm."""
    if (known := getattr(request.state, "small_form", None)) is not None:
        form: FormData = known
        return form
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _URLENCODED:
        raise BadForm(f"This page takes forms as {_URLENCODED}.", 415)
    form = FormData(_pairs(await _body(request)))
    request.state.small_form = form
    return form


async def _body(request: Request) -> bytes:
    found = bytearray()
    try:
        async for part in request.stream():
            found += part
            if len(found) > MOST_BYTES:
                raise BadForm(f"A form of this page has at most {MOST_BYTES // 1024} KiB.", 413)
    except ClientDisconnect:
        raise BadForm("This form did not come whole.") from None
    return bytes(found)


def _pairs(body: bytes) -> list[tuple[str, str | UploadFile]]:
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise BadForm("This form is damaged: it is no UTF-8, or has too many fields.") from None
    if any("\0" in part for pair in pairs for part in pair):
        raise BadForm("NUL is part of no name and of no text.")
    return list(pairs)


def word_of(form: FormData, name: str) -> str:
    """Without spaces around it; "": it is not there."""
    return str(form.get(name) or "").strip()
