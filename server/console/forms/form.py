"""One form: what was typed, what was there before, and which field the admin API refused."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from starlette.requests import Request

from server.console.admin_client import AdminRefusal
from server.console.small_forms import form_of

SEVERAL_LINES: Final = frozenset({"models"})


def new_token() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Form:
    """As a template shows it and a handler reads it. Fields have the admin API's names; those of an
    object have a dot between: budget.amount."""

    typed: Mapping[str, str] = field(default_factory=dict)
    was: Mapping[str, str] = field(default_factory=dict)
    """What stood in it when it was shown."""
    once: str = field(default_factory=new_token)
    """Which showing of it this is."""
    refusal: AdminRefusal | None = None

    @classmethod
    def showing(cls, values: Mapping[str, str]) -> "Form":
        return cls(values, {name: _as_browsers_do(name, text) for name, text in values.items()})

    @property
    def was_json(self) -> str:
        return json.dumps(dict(self.was))

    def value(self, name: str) -> str:
        return self.typed.get(name, "")

    def text(self, name: str) -> str:
        """Without the space around it."""
        return self.value(name).strip()

    def has(self, name: str) -> bool:
        """Of a box: whether it is ticked."""
        return bool(self.value(name))

    def is_changed(self, name: str) -> bool:
        return self.value(name) != self.was.get(name, "")

    def refused(self, refusal: AdminRefusal) -> "Form":
        return replace(self, refusal=refusal)

    def wrong(self, name: str) -> str:
        """What the admin API said of this field; "": nothing."""
        if self.refusal is None or not _is_of(self.refused_field, name):
            return ""
        return str(self.refusal.details.get("expected") or self.refusal)

    @property
    def refused_field(self) -> str:
        return "" if self.refusal is None else str(self.refusal.details.get("field") or "")

    def is_open(self, names: Iterable[str]) -> bool:
        """Whether a group of fields is to be shown: one is in use, or refused."""
        return any(self.value(name) or self.wrong(name) for name in names)

    def changed_texts(self, names: Iterable[str]) -> dict[str, str | None]:
        """Those that are not what they were; None: emptied."""
        return {name: self.text(name) or None for name in names if self.is_changed(name)}


def _is_of(refused: str, name: str) -> bool:
    """models.3 is of the field models, and budget of budget.amount, its first."""
    return refused == name or refused.startswith(f"{name}.") or f"{refused}.amount" == name


async def read_form(request: Request) -> Form:
    """Of the request's body. The console has looked at its token. Raises BadForm."""
    sent = await form_of(request)
    typed = {name: str(value).replace("\r\n", "\n") for name, value in sent.items()}
    return Form(typed, _read_was(typed.pop("was", "")), typed.pop("once", "") or new_token())


def _read_was(text: str) -> dict[str, str]:
    """What was sent is only compared with: nonsense is nothing."""
    try:
        found: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _as_browsers_do(name: str, text: str) -> str:
    """A field of one line drops line ends; one of several has them as \\n."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines if name in SEVERAL_LINES else lines.replace("\n", "")
