"""What a role may do on a page: what it may not is not shown. The admin API decides."""

from typing import NamedTuple

from server.accounts.principal import Principal


class Rights(NamedTuple):
    keys: bool
    """Make, change and revoke keys."""
    owners: bool
    """Make owners, and change what they may use."""
    members: bool
    """Make and change members, and let them in."""
    prices: bool
    """Set price factors, and keys for the admin API."""
    invoices: bool
    """Issue them, for good."""


def rights_of(principal: Principal) -> Rights:
    role = principal.role
    return Rights(
        keys=role in ("admin", "manager", "member"),
        owners=role == "admin",
        members=role in ("admin", "manager"),
        prices=role == "admin",
        invoices=role == "admin",
    )
