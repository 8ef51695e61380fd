"""The clock, and the site's database."""

import ctypes
import time
from collections.abc import Iterator
from contextlib import closing

from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.ledger.errors import LedgerError
from server.settings import Settings

EARLIEST = 1_767_225_600
"""2026-01-01: no clock of this version is right that says less."""
UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
STATUS_AT = 5
"""Which of a timex structure's machine words has the status (its first int after five longs)."""
SKEW_S = 2.0


def clock(_: Settings) -> Iterator[Diagnosis]:
    """Records are dated by it, and budgets and invoices are of its months."""
    now = time.time()
    words = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < EARLIEST:
        yield bad("clock", f"it says {words}", "set it: bills are dated by it")
        return
    if _is_synchronised() is False:
        remedy = "let chrony or systemd-timesyncd set it: bills are dated by it"
        yield note("clock", f"{words}, and nothing keeps it right", remedy)
    else:
        yield ok("clock", words)


def _is_synchronised() -> bool | None:
    """What the kernel was told; None where it does not say."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        timex = (ctypes.c_long * 64)()  # modes 0: it is only read
        if adjtimex(timex) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not timex[STATUS_AT] & UNSYNCHRONISED


def site(settings: Settings) -> Iterator[Diagnosis]:
    """Reached, of a schema that is known, and of the same time."""
    if settings.ledger_url is None:
        return
    from server.ledger import postgres

    remedy = "see --ledger-url, the network and the database's own log"
    try:
        with closing(postgres.connect(settings.ledger_url)) as connection:
            [[there]] = connection.execute("SELECT extract(epoch FROM clock_timestamp())")
            skew_s = float(there) - time.time()
            postgres.schema_of(connection).is_behind("Its database")
    except LedgerError as error:
        yield bad("site", str(error), remedy)
        return
    except Exception as error:  # the driver's own
        yield bad("site", postgres.one_line(error), remedy)
        return
    yield ok("site", "its database answers")
    if abs(skew_s) > SKEW_S:
        words = f"the database's is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"
        yield bad("site's clock", words, "set both by one source")
