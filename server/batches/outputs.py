"""A batch's output and error files in OpenAI's form, each by the lines of the input."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from engines.host.interpreter_turns import give_way
from server.batches.files import FilePart, FileStore, OwnedFile
from server.batches.input_lines import NotALine, raw_lines, read_line
from server.batches.results import Results
from server.batches.store import Batch, Ending

PURPOSE: Final = "batch_output"
UNASKED: Final[dict[Ending, tuple[str, str]]] = {
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "cancelled": ("batch_cancelled", "This request was not executed: the batch was cancelled."),
    "failed": ("batch_failed", "This request was not executed: the batch ended; see its errors."),
}
CUT_SHORT: Final = "This request was cut short; it is billed for what it generated."
_json = msgspec.json.encode


def answer_text(
    batch: Batch, number: int, custom_id: str, status: int, request_id: str, body: bytes
) -> bytes:
    """A line with an answer, good or bad. `body` is JSON in one line."""
    return (
        b'{"id":"%b","custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":%b},'
        b'"error":null}'
    ) % (_line_id(batch, number), _json(custom_id), status, _json(request_id), body)


def error_text(batch: Batch, number: int, custom_id: str, code: str, message: str) -> bytes:
    """A line without an answer."""
    error = _json({"code": code, "message": message})
    return b'{"id":"%b","custom_id":%b,"response":null,"error":%b}' % (
        _line_id(batch, number),
        _json(custom_id),
        error,
    )


def _line_id(batch: Batch, number: int) -> bytes:
    return f"batch_req_{batch.batch_id.removeprefix('batch_')}{number:07d}".encode()


def make_outputs(
    batch: Batch, results: Results, files: FileStore, most_line_bytes: int
) -> tuple[Batch, list[OwnedFile]]:
    """The batch with its files, which `BatchStore.save` makes known. Blocks. Raises OSError: then
    nothing is left of them, and it may be called again."""
    parts: dict[bool, FilePart] = {}
    counts = {False: 0, True: 0}
    try:
        for is_error, text in _lines(batch, results, files, most_line_bytes):
            if is_error not in parts:
                parts[is_error] = files.begin(batch.owner)
            parts[is_error].write_unbound(text + b"\n")
            counts[is_error] += 1
            give_way()
        made = {is_error: _placed(part, batch, is_error) for is_error, part in parts.items()}
    except BaseException:
        for part in parts.values():
            part.drop()
        raise
    batch = replace(
        batch,
        output_file_id=made[False].file_id if False in made else None,
        error_file_id=made[True].file_id if True in made else None,
        completed=counts[False],
        failed=counts[True],
    )
    return batch, list(made.values())


def _placed(part: FilePart, batch: Batch, is_error: bool) -> OwnedFile:
    what = "error" if is_error else "output"
    file = part.place(f"{batch.batch_id}_{what}.jsonl", PURPOSE)
    if batch.output_expires_s is None:
        return file
    return replace(file, expires_at=file.created_at + batch.output_expires_s)


def _lines(
    batch: Batch, results: Results, files: FileStore, most_line_bytes: int
) -> Iterator[tuple[bool, bytes]]:
    """Whether it failed, its text."""
    if batch.ending == "completed":
        for _, is_error, text in results.in_order():
            yield is_error, text
    else:
        input_path = files.path(batch.input_file_id)
        yield from _with_unasked(batch, results, input_path, most_line_bytes)


def _with_unasked(
    batch: Batch, results: Results, input_path: Path, most_line_bytes: int
) -> Iterator[tuple[bool, bytes]]:
    code, message = UNASKED[batch.ending]
    answered = results.in_order()
    last = next(answered, None)
    with open(input_path, "rb") as file:
        for raw in raw_lines(file, most_line_bytes):
            if last is not None and last[0] == raw.number:
                yield last[1], last[2]
                last = next(answered, None)
                continue
            try:
                custom_id = read_line(raw.text or b"").custom_id
            except NotALine:  # the file was never accepted
                return
            yield True, error_text(batch, raw.number, custom_id, code, message)
