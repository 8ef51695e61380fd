"""multipart/form-data piece by piece: one file into a part of the store, a few short fields."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server.batches.files import LONGEST_NAME, NoRoom
from server.errors import ApiError

MOST_PARTS: Final = 16
MOST_HEADER_BYTES: Final = 4096
MOST_FIELD_BYTES: Final = 1024


class Taking(Protocol):
    """A file on its way."""

    def write(self, piece: bytes) -> None: ...


File = TypeVar("File", bound=Taking)


@dataclass(frozen=True, slots=True)
class FormKind:
    """What a form is for."""

    expected: str = "multipart/form-data with the fields file and purpose"
    most_field_bytes: int = MOST_FIELD_BYTES
    names_matter: bool = True
    """Whether what its file is called has a meaning."""

    def wrong(self, what: str, name: str | None = None) -> ApiError:
        return ApiError.invalid(f"The form is wrong: {what}.", name, None, self.expected)


UPLOAD: Final = FormKind()


def boundary_of(content_type: bytes | None, form: FormKind = UPLOAD) -> bytes:
    """Raises ApiError 415, 400."""
    kind, options = parse_options_header((content_type or b"").decode("latin-1"))
    if kind != b"multipart/form-data":
        message = f"Content-Type must be {form.expected}."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise form.wrong("it names no boundary")
    return boundary


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    is_file: bool = False
    value: bytearray = field(default_factory=bytearray)


class FileForm(Generic[File]):
    """Takes the body's bytes as they come. Blocks where the file's disk does. Every method raises
    ApiError 400 where it is no such form, NoRoom and OSError of the file. `is_keyed`: it has to be
    known again, and what the file raises waits for `end`: by then the form may be another's."""

    def __init__(
        self,
        boundary: bytes,
        begin: Callable[[], File],
        kind: FormKind = UPLOAD,
        *,
        is_keyed: bool = False,
    ) -> None:
        self.file: File | None = None
        self.filename = ""
        self.values: list[tuple[str, str]] = []
        """All, in order."""
        self._kind = kind
        self._begin = begin
        self._part = _Part()
        self._parts = 0
        self._header = (bytearray(), bytearray())
        self._is_over = False
        self._digest = hashlib.sha256() if is_keyed else None
        self._refusal: Exception | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda d, a, b: self._head(0, d[a:b]),
                "on_header_value": lambda d, a, b: self._head(1, d[a:b]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda d, a, b: self._data(d[a:b]),
                "on_part_end": self._part_ends,
                "on_end": self._ends,
            },
        )

    @property
    def fields(self) -> dict[str, str]:
        """The last of each name."""
        return dict(self.values)

    def write(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError:
            raise self._kind.wrong("it is no multipart form") from None

    def end(self) -> File:
        """The file, once all has come."""
        file = self._whole()
        if self._refusal is not None:
            raise self._refusal
        return file

    def _whole(self) -> File:
        if not self._is_over:
            raise self._kind.wrong("it ends too early")
        if self.file is None:
            raise self._kind.wrong("it has no file", "file")
        return self.file

    def known_by(self) -> bytes:
        """The same for the same fields and file, once all has come: in whatever order (but of those
        of one name) and within whatever boundary."""
        self._whole()
        assert self._digest is not None
        name = self.filename if self._kind.names_matter else ""
        fields = sorted(self.values, key=itemgetter(0))
        return msgspec.json.encode((fields, name, self._digest.hexdigest()))

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._kind.wrong(f"it has more than {MOST_PARTS} parts")
        self._part = _Part()

    def _head(self, which: int, piece: bytes) -> None:
        self._header[which].extend(piece)
        if len(self._header[which]) > MOST_HEADER_BYTES:
            raise self._kind.wrong("a part's header is too long")

    def _header_ends(self) -> None:
        if len(self._part.headers) >= MOST_PARTS:
            raise self._kind.wrong("a part has too many headers")
        name, value = self._header
        self._part.headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_end(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.is_file = b"filename" in options or part.name == "file"
        if not part.is_file:
            return
        if part.name != "file" or self.file is not None:
            raise self._kind.wrong("it has another file than one called file", "file")
        self.filename = _plain(options.get(b"filename", b""))
        self.file = self._begin()

    def _data(self, piece: bytes) -> None:
        if self._part.is_file:
            self._file_data(piece)
            return
        self._part.value.extend(piece)
        if len(self._part.value) > self._kind.most_field_bytes:
            raise self._kind.wrong("a field is too long", self._part.name[:64])

    def _file_data(self, piece: bytes) -> None:
        assert self.file is not None
        if self._digest is None:
            self.file.write(piece)
            return
        self._digest.update(piece)
        try:
            if self._refusal is None:
                self.file.write(piece)
        except (NoRoom, OSError) as refusal:
            self._refusal = refusal

    def _part_ends(self) -> None:
        if not self._part.is_file:
            value = self._part.value.decode("utf-8", "replace")
            self.values.append((self._part.name, value))

    def _ends(self) -> None:
        self._is_over = True


def _plain(name: bytes) -> str:
    """What a file is called: no path, nothing that a terminal obeys, bounded."""
    text = name.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    text = "".join(c for c in text if c.isprintable()).strip()
    return text[:LONGEST_NAME] or "file"
