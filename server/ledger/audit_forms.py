"""What the audit log tells of a key, an owner, a member or the site: all but its secrets."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Final

from server.ledger.allowance import Allowance

_UNTOLD: Final = frozenset({"secret_hash", "previous_hash", "last_used_at", "above"})


def told(level: Allowance | None) -> Mapping[str, Any] | None:
    """As JSON has it; what is left at its default is left out."""
    if level is None:
        return None
    named = {f.name: getattr(level, f.name) for f in fields(level) if f.name not in _UNTOLD}
    return {name: _plain(value) for name, value in named.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: each for name, each in asdict(value).items() if each is not None}
    return value
