"""The site, owners and members as programs see them: the admin API's bodies, and `--json`."""

import re
import time
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from server.accounts.allowance_wire import (
    AllowanceOut,
    AllowancePatch,
    NameText,
    allowance_shown,
    moment,
)
from server.ledger.tenants import MemberLevel, OwnerLevel, Role, SiteLevel

OwnerState: TypeAlias = Literal["active", "archived"]
MemberState: TypeAlias = Literal["active", "disabled"]
Weight = Annotated[
    int, Field(ge=1, le=100, description="Its share of a full engine, beside other owners'")
]


class SitePatch(AllowancePatch):
    """What may be changed of the site: what all keys together may use."""

    def apply(self, site: SiteLevel) -> SiteLevel:
        """Raises KeyDoesNotFit."""
        return self.allowed(site)


class SiteOut(AllowanceOut):
    """What all keys together may use."""


class OwnerPatch(AllowancePatch):
    """What may be changed of an owner: all but its name. A field that is not sent stays."""

    weight: Weight = 1
    archived: bool = False
    """Whether its keys are refused."""

    def apply(self, owner: OwnerLevel) -> OwnerLevel:
        """Raises KeyDoesNotFit."""
        changed = self.allowed(owner)
        if "weight" in self.model_fields_set:
            changed = replace(changed, weight=self.weight)
        if "archived" not in self.model_fields_set:
            return changed
        since = owner.archived_at or time.time()
        return replace(changed, archived_at=since if self.archived else None)


class NewName(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: NameText


class OwnerIn(AllowancePatch, NewName):
    """A new owner: a customer or project. Its name is for good."""

    weight: Weight = 1

    def owner(self) -> OwnerLevel:
        """Raises KeyDoesNotFit."""
        return self.allowed(OwnerLevel(owner_id="", name=self.name, weight=self.weight))


class OwnerHead(BaseModel):
    owner_id: str
    name: str
    state: OwnerState


class OwnerOut(AllowanceOut, OwnerHead):
    """An owner: what all its keys together may use."""

    weight: int
    created_at: datetime
    archived_at: datetime | None


_ADDRESS: Final = r"^[^@\s]+@[^@\s]+$"


def _address(text: str) -> str:
    if not re.fullmatch(_ADDRESS, text):
        raise PydanticCustomError("address", "right would be an address, as ada@example.com")
    return text


Address = Annotated[
    NameText, AfterValidator(_address), Field(json_schema_extra={"pattern": _ADDRESS})
]


class MemberPlace(BaseModel):
    """Who it is. The owner is for good."""

    model_config = ConfigDict(extra="forbid")

    name: NameText = ""
    email: Address | None = None
    role: Role = "member"
    """admin: of the site, without an owner; auditor: with an owner of that, else of the site."""


class MemberPatch(AllowancePatch, MemberPlace):
    """What may be changed of a member. A field that is not sent stays."""

    disabled: bool = False
    """Whether its keys are refused."""

    def apply(self, member: MemberLevel) -> MemberLevel:
        """Raises KeyDoesNotFit."""
        sent = self.model_fields_set
        since = (member.disabled_at or time.time()) if self.disabled else None
        changed = replace(
            member,
            name=self.name if "name" in sent else member.name,
            email=self.email if "email" in sent else member.email,
            role=self.role if "role" in sent else member.role,
            disabled_at=since if "disabled" in sent else member.disabled_at,
        )
        return self.allowed(changed)


class MemberIn(AllowancePatch, MemberPlace):
    """A new member: a person."""

    name: NameText
    owner: NameText | None = None
    """By name or id; none where the role is admin."""

    def member(self) -> MemberLevel:
        """Raises KeyDoesNotFit."""
        new = MemberLevel(
            member_id="", owner=self.owner, name=self.name, email=self.email, role=self.role
        )
        return self.allowed(new)


class MemberHead(BaseModel):
    member_id: str
    owner: str | None
    name: str
    email: str | None
    role: Role
    state: MemberState


class MemberOut(AllowanceOut, MemberHead):
    """A person: what all its keys together may use."""

    created_at: datetime
    disabled_at: datetime | None


def site_out(site: SiteLevel) -> SiteOut:
    return SiteOut(**allowance_shown(site))


def owner_state(owner: OwnerLevel) -> OwnerState:
    return "active" if owner.archived_at is None else "archived"


def member_state(member: MemberLevel) -> MemberState:
    return "active" if member.disabled_at is None else "disabled"


def member_words(member: MemberLevel) -> tuple[str | None, ...]:
    """What a member is found by."""
    return member.name, member.email, member.member_id, member.owner


def owner_out(owner: OwnerLevel) -> OwnerOut:
    return OwnerOut(
        owner_id=owner.owner_id,
        name=owner.name,
        state=owner_state(owner),
        **allowance_shown(owner),
        weight=owner.weight,
        created_at=moment(owner.created_at),
        archived_at=moment(owner.archived_at),
    )


def member_out(member: MemberLevel) -> MemberOut:
    return MemberOut(
        member_id=member.member_id,
        owner=member.owner,
        name=member.name,
        email=member.email,
        role=member.role,
        state=member_state(member),
        **allowance_shown(member),
        created_at=moment(member.created_at),
        disabled_at=moment(member.disabled_at),
    )
