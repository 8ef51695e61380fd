"""Of what is others' nobody hears: lists leave it out, a name of it is not there."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.ledger.records import UsageRecord
from tests.support.admin_site import admin_site
from tests.support.people import PEOPLE, People, asked
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_lists_are_narrowed_and_filters_by_others_names_tell_nothing(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    people, url = People(), None
    if database == "postgresql":
        url = new_site(request.getfixturevalue("postgres"))
    async with admin_site(tmp_path, prepare=people.make, ledger_url=url) as site:
        await asked(site, people)

        async def listed(path: str, asker: str, **params: str) -> Any:
            return await site.ask(
                "GET", f"/admin/v1/{path}", params=params, headers=people.headers(asker)
            )

        async def names(path: str, asker: str, **params: str) -> list[str]:
            return sorted({one["name"] for one in await listed(path, asker, **params)})

        async def requests(asker: str, **params: str) -> list[str]:
            found = (await listed("requests", asker, **params))["requests"]
            return sorted(each["request_id"].removeprefix("asked-by-") for each in found)

        every = sorted(PEOPLE)
        assert await names("members", "sid") == every
        for asker in ("boss", "aud"):
            assert await names("members", asker) == ["aud", "boss", "mel", "pal"]
            assert await names("owners", asker) == ["acme"]
            assert await requests(asker) == ["aud", "boss", "mel", "pal"]
            assert {k["owner"] for k in await listed("keys", asker)} == {"acme"}
        assert await names("members", "mel") == ["mel"]
        assert await names("keys", "mel") == ["of mel", "script"]
        assert await names("owners", "mel") == ["acme"]
        assert await requests("mel") == ["mel"]
        assert await requests("sid") == every
        for unknown in ("globex", "nobody"):
            assert await names("keys", "boss", owner=unknown) == []
            assert await requests("boss", owner=unknown) == []
        for unknown in (people.keys["gus"], "of gus", "nobody"):
            assert await requests("boss", key_id=unknown) == []
        assert await requests("boss", key_id="of mel") == ["mel"]
        assert await requests("mel", key_id="of pal") == []
        assert await requests("mel", owner="acme") == ["mel"]


@pytest.mark.parametrize(
    ("path", "theirs", "nobodys"),
    [
        ("keys/{}", "of gus", "of nobody"),
        ("members/{}", "gus", "ada"),
        ("members/{}", "root", "ada"),
        ("owners/{}", "globex", "nobody"),
        ("keys?member={}", "gus", "ada"),
        ("members?owner={}", "globex", "nobody"),
        ("requests/{}", "asked-by-gus", "asked-by-ada"),
    ],
)
async def test_what_is_others_is_refused_in_the_words_of_what_is_not_there(
    tmp_path: Path, path: str, theirs: str, nobodys: str
) -> None:
    people = People()
    async with admin_site(tmp_path, prepare=people.make) as site:
        await asked(site, people)
        for asker in ("boss", "aud", "mel"):
            told = [
                (
                    await site.ask(
                        "GET",
                        f"/admin/v1/{path.format(word)}",
                        404,
                        headers=people.headers(asker),
                    )
                )["error"]["message"].replace(word, "…")
                for word in (theirs, nobodys)
            ]
            assert told[0] == told[1]


async def test_a_name_that_several_owners_have_is_told_to_nobody_else(tmp_path: Path) -> None:
    people = People()
    async with admin_site(tmp_path, prepare=people.make) as site:
        for owner in ("acme", "globex"):
            body = {"name": "Ada", "owner": owner}
            await site.ask("POST", "/admin/v1/members", 201, json=body)
            await site.ask("POST", "/admin/v1/keys", 201, json=body)
        for path in ("members/Ada", "keys/Ada"):
            await site.ask("GET", f"/admin/v1/{path}", 400)
            found = await site.ask("GET", f"/admin/v1/{path}", headers=people.headers("boss"))
            assert found["owner"] == "acme"


async def test_usage_is_ones_own_and_by_member(tmp_path: Path) -> None:
    people = People()
    async with admin_site(tmp_path, prepare=people.make) as site:
        for name in ("mel", "pal", "gus"):
            await site.ledger.close_record(
                UsageRecord(
                    record_id=name,
                    key_id=people.keys[name],
                    owner=PEOPLE[name][1] or "",
                    alias="a",
                    weights="w",
                    revision=None,
                    endpoint="chat",
                    stream=False,
                    started_at=time.time(),
                    end="ok",
                    prompt_tokens=1,
                )
            )

        async def users(asker: str, **params: str) -> list[str]:
            report = await site.ask(
                "GET",
                "/admin/v1/usage",
                params={"by": "member", **params},
                headers=people.headers(asker),
            )
            names = {id_: name for name, id_ in people.ids.items()}
            return sorted(names[line["member"]] for line in report["lines"])

        assert await users("root") == await users("sid") == ["gus", "mel", "pal"]
        assert await users("boss") == await users("aud") == ["mel", "pal"]
        assert await users("mel") == ["mel"]
        assert await users("boss", member="pal") == ["pal"]
        assert await users("boss", owner="globex") == await users("boss", owner="nobody") == []
        for key in (people.keys["gus"], "of gus"):
            assert await users("boss", key_id=key) == []
        assert await users("mel", key_id=people.keys["pal"]) == []
