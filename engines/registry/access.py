"""`access:` of a registry: which OpenID Connect issuers people sign in with, and who they then
are."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    is_here = parts.hostname in LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise ValueError("an issuer's URL begins with https:// (http:// on this machine alone)")
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("right would be like https://login.example/realms/staff")
    return value


Word = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Claim = Annotated[str, StringConstraints(pattern=r"^[^\s.]+(\.[^\s.]+)*$", max_length=200)]
IssuerUrl = Annotated[str, StringConstraints(max_length=500), AfterValidator(_issuer)]
EnvironmentName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)
]
MemberRole = Literal["admin", "manager", "member", "auditor"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RuleEntry(_Strict):
    """Who has this in a claim is this; the first rule that fits counts."""

    claim: Claim = Field(description="a claim's name, like groups, or realm_access.roles")
    has: Word = Field(description="a value of the claim, or one of its list")
    role: MemberRole = Field(description="admin, manager, member or auditor")
    owner: Word | None = Field(None, description="the owner's name; none for the whole site")

    @model_validator(mode="after")
    def _belongs(self) -> "RuleEntry":
        if self.role == "admin" and self.owner is not None:
            raise ValueError("an admin is the site's: a rule of one has no owner")
        if self.role in ("manager", "member") and self.owner is None:
            raise ValueError(f"a {self.role} is of an owner: the rule needs `owner`")
        return self


class IssuerEntry(_Strict):
    """One issuer of identities."""

    name: Word = Field(description="what people call it: Sign in with …")
    issuer: IssuerUrl = Field(description="its URL, as its own configuration says it")
    client_id: Word = Field(description="what the issuer calls this server")
    client_secret_env: EnvironmentName | None = Field(
        None, description="the environment variable with the client's secret; none: PKCE alone"
    )
    scopes: Annotated[list[Word], Field(max_length=20)] = Field(
        ["openid", "profile", "email"], description="a list; openid is one of them"
    )
    rules: Annotated[list[RuleEntry], Field(min_length=1, max_length=200)] = Field(
        description="a list of {claim: …, has: …, role: …, owner: …}"
    )

    @model_validator(mode="after")
    def _asks_for_identity(self) -> "IssuerEntry":
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid is missing")
        return self


class AccessEntry(_Strict):
    """How people sign in to the console, beside passwords."""

    issuers: Annotated[list[IssuerEntry], Field(max_length=10)] = Field(
        [], description="a list of OpenID Connect issuers"
    )

    @model_validator(mode="after")
    def _differ(self) -> "AccessEntry":
        names = [each.name for each in self.issuers]
        if len(set(names)) < len(names):
            raise ValueError("two issuers have one name")
        return self
