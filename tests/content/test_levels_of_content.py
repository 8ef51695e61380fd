"""What a key and the levels above it say of content, each until its time is over."""

from typing import Any

import pytest

from server.ledger.keys import Key
from server.ledger.levels import Above, kept_at
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel

NOW = 1000.0
OVER, LATER = NOW - 1, NOW + 1


@pytest.mark.parametrize(
    ("key", "member", "owner", "site", "mode"),
    [
        ((), (), (), (), None),
        (("full", LATER), (), ("metadata",), (), "full"),
        (("full", OVER), (), ("metadata",), (), "metadata"),
        (("full", NOW), (), ("metadata",), (), "metadata"),
        ((), (), ("full", OVER), ("metadata",), "metadata"),
        (("metadata",), (), ("full", OVER), (), "metadata"),
        ((), ("full", OVER), ("full", OVER), (), None),
        ((), ("none",), ("full", LATER), (), None),
        (("full",), ("none",), (), (), None),
        (("full",), ("none", LATER), (), (), None),
        (("full",), ("none", OVER), (), (), "full"),
        (("full",), (), (), ("none", OVER), "full"),
        (("none", OVER), (), (), ("metadata",), "metadata"),
        (("none", LATER), (), (), ("metadata",), None),
    ],
)
def test_a_level_whose_time_is_over_says_nothing(
    key: Any, member: Any, owner: Any, site: Any, mode: str | None
) -> None:
    above = (
        MemberLevel(member_id="m", owner="o", name="m", **_said(*member)),
        OwnerLevel(owner_id="i", name="o", **_said(*owner)),
        SiteLevel(**_said(*site)),
    )
    found = Key(key_id="k", name="k", owner="o", above=Above(above), **_said(*key)).caller()
    assert kept_at(found.content, NOW) == mode


def _said(content: str | None = None, until: float | None = None) -> dict[str, Any]:
    return {"content": content, "content_until": until}
