"""Keys as programs see them: the admin API's bodies, and `--json` of the commands."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from server.accounts.allowance_wire import (
    LAST_YEAR,
    AllowanceOut,
    AllowancePatch,
    NameText,
    allowance_shown,
    moment,
)
from server.ledger.key_headings import KeyHeading
from server.ledger.keys import Key, KeyState
from server.ledger.tenants import MemberLevel

FIRST_YEAR = 1969
MAX_GRACE_S = 366 * 86_400.0


def _of_our_time(moment: datetime) -> datetime:
    """Raises ValueError: what no calendar in UTC has cannot be shown again."""
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError("a key ends between 1970 and 9998; without a time it never does")
    return moment


def _to_come(moment: datetime) -> datetime:
    """Raises ValueError."""
    if moment <= datetime.now(UTC):
        raise ValueError("it is over: such a key would never work")
    return moment


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_of_our_time)]


class KeyPlace(BaseModel):
    """What a key is called, and where it stands."""

    model_config = ConfigDict(extra="forbid")

    name: NameText = ""
    owner: NameText = ""
    """By name or id; where there is none of it, one is made."""
    member: NameText | None = None
    """Of the owner or of the site, by name or id; for good."""


class KeyPatch(AllowancePatch, KeyPlace):
    """What may be changed of a key. A field that is not sent stays; null means the default."""

    expires_at: Moment | None = None

    def apply(self, key: Key) -> Key:
        """`key` with the fields that were sent. Raises KeyDoesNotFit."""
        sent = self.model_fields_set
        changed = replace(
            key,
            name=self.name if "name" in sent else key.name,
            owner=self.owner if "owner" in sent else key.owner,
            member_id=self.member if "member" in sent else key.member_id,
            expires_at=seconds(self.expires_at) if "expires_at" in sent else key.expires_at,
        )
        return self.allowed(changed)


class KeyIn(KeyPatch):
    """A new key."""

    name: NameText
    owner: NameText = "default"
    """The customer or project that is billed, by name or id; where there is none of it, one is
    made."""
    expires_at: Annotated[Moment, AfterValidator(_to_come)] | None = None
    admin: bool = False
    """A key for /admin/v1 instead of the LLM API."""

    def key(self) -> Key:
        service = "admin" if self.admin else "llm"
        return self.apply(Key(key_id="", name=self.name, owner=self.owner, service=service))


class KeyHead(BaseModel):
    key_id: str
    name: str
    owner: str
    member: str | None
    """The person's name."""
    member_id: str | None
    service: str
    state: KeyState
    """barred: its owner is archived, or its member disabled."""


class KeyOut(AllowanceOut, KeyHead):
    """A key, without its secret."""

    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None
    """Until when the text from before the last rotation is accepted too."""


class KeyMade(KeyOut):
    """A new key or a new text of one: `key` is shown this once and stored nowhere."""

    key: str


def key_out(key: Key) -> KeyOut:
    return KeyOut(**fields_of(key))


def key_made(key: Key, text: str) -> KeyMade:
    return KeyMade(**fields_of(key), key=text)


def key_words(key: KeyHeading) -> tuple[str | None, ...]:
    """What a key is found by."""
    return key.name, key.key_id, key.owner, member_name(key)


def member_name(key: Key | KeyHeading) -> str | None:
    members = (each.name for each in key.above.levels if isinstance(each, MemberLevel))
    return next(members, None)


def fields_of(key: Key) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "owner": key.owner,
        "member": member_name(key),
        "member_id": key.member_id,
        "service": key.service,
        "state": key.state(time.time()),
        **allowance_shown(key),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
        "previous_until": moment(key.previous_until),
    }


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
