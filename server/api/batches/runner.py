"""A server's batches, put together: where they lie, how their lines are asked."""

from server.api.batches.lines import Lines
from server.api.services import Services
from server.batches.asked_lines import LineParts
from server.batches.batch_run import BatchParts
from server.batches.database import BatchDatabase
from server.batches.files import FileStore
from server.batches.runner import BatchRunner
from server.batches.seats import Seats
from server.batches.store import BatchStore

_BESIDE_BODY_BYTES = 4096
"""What a line has beside its body."""
_GB = 10**9


def batch_runner(services: Services) -> BatchRunner:
    settings, lines = services.settings, Lines(services)
    database = BatchDatabase(settings.data_dir)
    files = FileStore(database, int(settings.file_gb * _GB), int(settings.files_gb * _GB))
    parts = BatchParts(
        files=files,
        store=BatchStore(database),
        lines=LineParts(
            ask=lines.ask,
            close_record=services.ledger.close_record,
            seats=Seats(settings.batch_concurrent, lines.others),
            most_line_bytes=settings.max_body_bytes + _BESIDE_BODY_BYTES,
        ),
        alias_of=lines.alias_of,
        most_lines=settings.batch_lines,
    )
    return BatchRunner(parts)
