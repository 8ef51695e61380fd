"""/admin/v1: keys and usage over HTTP, for admin keys only, described by OpenAPI."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from engines.fleet.commands import COMMANDS
from server.ledger.records import UsageRecord
from tests.support.admin_site import AdminSite, admin_site

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as site:
        yield site


async def test_a_key_lives_its_life_over_http(site: AdminSite) -> None:
    body = {"name": "n", "owner": "acme", "models": ["a"], "currency": "NOK", "concurrent": 3}
    budget = {"kind": "money", "amount": "12.5", "period": "month"}
    made = await site.ask("POST", "/admin/v1/keys", 201, json=body | {"budget": budget})
    path = f"/admin/v1/keys/{made['key_id']}"
    assert made["key"].startswith(f"wayscloud_llm_{made['key_id']}_")
    assert made["budget"] == budget

    shown = await site.ask("GET", path)
    assert shown.pop("used")["left"] == "12.5"
    assert shown == {name: value for name, value in made.items() if name != "key"}

    patched = await site.ask("PATCH", path, json={"budget": None, "owner": "other"})
    assert (patched["budget"], patched["owner"], patched["concurrent"]) == (None, "other", 3)

    rotated = await site.ask("POST", path + "/rotate", params={"grace_s": 60})
    assert rotated["key"] != made["key"]

    revoked = await site.ask("DELETE", path)
    assert revoked["state"] == "revoked"
    listed = await site.ask("GET", "/admin/v1/keys", params={"owner": "other"})
    assert [key["key_id"] for key in listed] == [made["key_id"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/v1/keys"),
        ("POST", "/admin/v1/keys"),
        ("DELETE", "/admin/v1/keys/x"),
        ("GET", "/admin/v1/usage"),
    ],
)
async def test_only_an_admin_key_comes_in(site: AdminSite, method: str, path: str) -> None:
    stranger = await site.ask(method, path, 401, headers={"X-API-Key": "wayscloud_admin_x_y"})
    assert stranger["error"]["code"] == "AUTH_FAILED"
    user = await site.ask(method, path, 403, headers={"X-API-Key": site.llm_key})
    assert user["error"]["code"] == "INSUFFICIENT_PERMISSIONS"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "n", "nmae": "n"}, "nmae"),
        ({"name": "n", "concurrent": 0}, "concurrent"),
        ({"name": "n", "budget": {"kind": "money", "amount": "1", "period": "year"}}, "budget"),
        ({"name": "n", "budget": {"kind": "money", "amount": "1", "period": "day"}}, "currency"),
        ({"name": "n", "currency": "GBP"}, "currency"),
        ({"name": "n", "models": ["m"] * 1001}, "models"),
        ({"name": "n", "models": ["m" * 201]}, "models"),
        ({"name": "a\0b"}, "name"),
        ({"name": "n", "owner": "a\0b"}, "owner"),
        ({"name": "n", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"name": "n", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_field(
    site: AdminSite, body: dict[str, Any], field: str
) -> None:
    error = await site.ask("POST", "/admin/v1/keys", 400, json=body)
    assert error["error"]["code"] == "INVALID_PARAMETER"
    assert field in error["error"]["message"]


@pytest.mark.parametrize("body", ['{"name": "%s"}', '{"name": "n", "models": ["%s"]}', '{"%s": 1}'])
async def test_half_a_character_is_a_400_and_breaks_no_list(site: AdminSite, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    half = (body % r"\udcff").encode()
    error = await site.ask("POST", "/admin/v1/keys", 400, content=half, headers=headers)
    assert error["error"]["code"] == "INVALID_PARAMETER"
    await site.ask("GET", "/admin/v1/keys")


async def test_an_unknown_key_is_a_404(site: AdminSite) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        error = await site.ask(method, f"/admin/v1/keys/nobody{path}", 404, json={})
        assert error["error"]["code"] == "NOT_FOUND"


async def test_usage_is_the_commands_report_as_json(site: AdminSite) -> None:
    for number in range(3):
        await site.ledger.close_record(used_once(f"r{number}", "acme" if number else "other"))
    period = {"first": "2026-11-01", "last": "2026-11-30"}
    report = await site.ask(
        "GET", "/admin/v1/usage", params=[*period.items(), ("by", "month"), ("by", "owner")]
    )
    assert [(line["month"], line["owner"], line["amount"]) for line in report["lines"]] == [
        ("2026-11", "acme", "0.000006"),
        ("2026-11", "other", "0.000003"),
    ]
    assert report["lines"][0]["amount_micro"] == 6
    backwards = {"first": "2026-11-30", "last": "2026-11-01"}
    error = await site.ask("GET", "/admin/v1/usage", 400, params=backwards)
    assert "is after" in error["error"]["message"]


async def test_usage_comes_as_a_file(site: AdminSite) -> None:
    await site.ledger.close_record(used_once("r", "acme"))
    asked = {"first": "2026-11-01", "last": "2026-11-30", "by": "member"}

    async def file(form: str) -> httpx.Response:
        return await site.client.get("/admin/v1/usage", params=asked | {"format": form})

    text = await file("csv")
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="usage-2026-11-01-2026-11-30.csv"' in text.headers["content-disposition"]
    [line] = csv.DictReader(io.StringIO(text.text))
    assert (line["member"], line["amount"]) == ("", "0.000003")
    table = parquet.read_table(io.BytesIO((await file("parquet")).content)).to_pylist()
    assert [(row["amount"], row["amount_micro"]) for row in table] == [("0.000003", 3)]
    empty = asked | {"owner": "nobody", "format": "parquet"}
    error = await site.ask("GET", "/admin/v1/usage", 400, params=empty)
    assert "Nothing was used" in error["error"]["message"]


async def test_usage_has_bounds(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await site.ledger.close_record(used_once(f"r{number}", f"o{number}"))
    long = {"first": "2016-01-01", "last": "2026-11-30"}
    error = await site.ask("GET", "/admin/v1/usage", 400, params=long)
    assert "is more than 3660 days" in error["error"]["message"]
    monkeypatch.setattr("server.api.admin.usage.MOST_LINES", 2)
    month = {"first": "2026-11-01", "last": "2026-11-30", "by": "owner"}
    error = await site.ask("GET", "/admin/v1/usage", 400, params=month)
    assert error["error"]["message"] == "This report has more than 2 lines."
    await site.ask("GET", "/admin/v1/usage", params=month | {"owner": "o1"})


def used_once(name: str, owner: str) -> UsageRecord:
    return UsageRecord(
        record_id=name,
        key_id="k",
        owner=owner,
        alias="a",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=False,
        started_at=1_795_000_000.0,  # 2026-11-18
        end="ok",
        completion_tokens=2,
        price_output=1_250_000,
    )


KEPT = ("kept-requests", "requests/{request_id}/content", "nodes")
NOW = (*KEPT, "now", "now/events", "registry", "registry/{alias}")
INVOICES = ("invoices", "invoices/preview", "invoices/{number}", "invoices/{number}.pdf")
READ = (*NOW, *INVOICES, "me", "requests", "requests/{request_id}", "audit", "audit/verify")
LISTED = ("get", "post")
ONE = ("/admin/v1/owners/{owner}", "/admin/v1/members/{member}")


async def test_openapi_describes_every_route_and_the_key_it_needs(site: AdminSite) -> None:
    described = await site.ask("GET", "/openapi.json")
    paths = {p: verbs for p, verbs in described["paths"].items() if p.startswith("/admin/")}
    routes = {(path, verb) for path, verbs in paths.items() for verb in verbs}
    one = "/admin/v1/keys/{key_id}"
    assert routes == {
        ("/admin/v1/members/{member}/invite", "post"),
        ("/admin/v1/members/{member}/sessions", "delete"),
        ("/admin/v1/members/{member}/sessions", "get"),
        *((f"/admin/v1/nodes/{{node}}/{word}", "post") for word in ("drain", "undrain")),
        ("/admin/v1/nodes/probe", "post"),
        ("/admin/v1/keys", "get"),
        ("/admin/v1/keys", "post"),
        (one, "get"),
        (one, "patch"),
        (one, "delete"),
        (one + "/rotate", "post"),
        ("/admin/v1/usage", "get"),
        ("/admin/v1/models", "get"),
        ("/admin/v1/registry", "post"),
        ("/admin/v1/invoices", "post"),
        ("/admin/v1/owners/{owner}/memory", "delete"),
        *((f"/admin/v1/{path}", "get") for path in READ),
        ("/admin/v1/site", "get"),
        ("/admin/v1/site", "patch"),
        *((f"/admin/v1/{level}", verb) for level in ("owners", "members") for verb in LISTED),
        *((path, verb) for path in ONE for verb in ("get", "patch")),
        *((f"/admin/v1/models/{{alias}}/{command}", "post") for command in COMMANDS),
    }
    for path, verb in routes:
        assert described["paths"][path][verb]["security"] == [{"APIKeyHeader": []}]
    assert "secret_hash" not in str(described)
