"""The audit log, the last requests and usage in the console."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.accounts.principal import Principal
from server.console.request_bars import bars_of
from server.ledger.audit import note
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import SeenPage, Visitor
from tests.support.invoicing import add, used

pytestmark = pytest.mark.anyio

AUDIT, REQUESTS, USAGE = "/console/audit", "/console/requests", "/console/usage"
MEMBER = Principal(kind="member", name="m_member", role="member", owner="acme")


async def changed_key(site: AdminSite) -> str:
    body = {"name": "old", "owner": "acme", "currency": "NOK", "models": ["a"]}
    budget = {"kind": "money", "amount": "500.5", "period": "month"}
    key = await site.ask("POST", "/admin/v1/keys", 201, json=body)
    path = f"/admin/v1/keys/{key['key_id']}"
    await site.ask("PATCH", path, json={"name": "<i>new", "budget": budget, "models": None})
    return str(key["key_id"])


async def test_an_entry_shows_what_was_changed_and_nothing_else(
    site: AdminSite, visitor: Visitor
) -> None:
    key_id = await changed_key(site)
    answer = await site.client.get(AUDIT)
    row = answer.text.partition("<tbody>")[2].partition("</tr>")[0]
    assert f'href="/console/keys/{key_id}"' in row
    said = SeenPage(httpx.Response(200, text=row)).text
    for words in ("was old", "now <i>new", "budget.amount", "now 500.5", "models", "taken away"):
        assert words in said
    assert "owner" not in said
    assert "created_at" not in said


@pytest.mark.parametrize(
    ("before", "after"),
    [("{", "[1]"), ("nothing", '"x"'), ('{"a":' * 5000, "{}"), ("{}", '{"at_at": 1e300}')],
)
async def test_an_entry_that_somebody_wrote_is_shown(
    site: AdminSite, visitor: Visitor, before: str, after: str
) -> None:
    with closing(site.ledger.open_books()) as books:
        note(books, "odd.entry", "<x>", None, {"a": 1})
        books.execute("DROP TRIGGER audit_update")
        books.execute("UPDATE audit SET before = ?, after = ?", (before, after))
    page = await visitor.open(AUDIT)
    assert "<x>" in page.text


async def test_the_log_is_filtered_and_read_back_in_parts(
    site: AdminSite, visitor: Visitor
) -> None:
    for number in range(40):
        await site.ask("POST", "/admin/v1/owners", 201, json={"name": f"o {number}"})
    first = await visitor.open(f"{AUDIT}?action=owner")
    assert "o 39" in first.text
    [older] = [link for link in first.links if "before=" in link]
    assert "action=owner" in older
    second = await visitor.open(older)
    assert "o 9" in second.text
    assert "o 10" not in second.text
    assert "No entry is like that." in (await visitor.open(f"{AUDIT}?action=no.such")).text
    assert "before: Input should be" in (await visitor.open(f"{AUDIT}?before=x")).text


async def test_whether_it_is_whole_is_told(site: AdminSite, visitor: Visitor) -> None:
    await changed_key(site)
    page = await visitor.open(f"{AUDIT}/verify")
    assert "each as it was written" in page.text
    head = (await site.ask("GET", "/admin/v1/audit/verify"))["head"]
    assert head in page.text
    assert "each as it was written" in (await visitor.open(f"{AUDIT}/verify?head={head}")).text
    wrong = await visitor.open(f"{AUDIT}/verify?head=nonsense", 400)
    assert "is no head of an audit log" in wrong.text
    with closing(site.ledger.open_books()) as books:
        books.execute("DROP TRIGGER audit_update")
        books.execute("UPDATE audit SET actor = 'nobody' WHERE number = 2")
    broken = await visitor.open(f"{AUDIT}/verify")
    assert "The log is not as it was written. Entry 2" in broken.text


@pytest.mark.parametrize("count", [0, 1, 500, 501])
async def test_all_of_it_is_exported_in_order(site: AdminSite, count: int) -> None:
    with closing(site.ledger.open_books()) as books, books.writing("audit"):
        books.execute("DROP TRIGGER audit_delete")
        books.execute("DELETE FROM audit")
        for number in range(count):
            note(books, "owner.create", f"o {number}", None, {"name": "\u2028"})
    answer = await site.client.get(f"{AUDIT}/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.json"'
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert [entry["target"] for entry in found] == [f"o {number}" for number in range(count)]


async def test_a_request_is_found_and_nothing_of_its_content(
    site: AdminSite, visitor: Visitor
) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "secret words"}]}
    for number in range(51):
        headers = {"X-API-Key": site.llm_key, "X-Request-Id": f"asked-{number}"}
        await site.client.post(
            "/v1/chat/completions", json={**body, "model": "no-such"}, headers=headers
        )
    first = await visitor.open(REQUESTS)
    asked = [link for link in first.links if "asked" in link]
    assert asked == [f"{REQUESTS}/asked-{number}" for number in range(50, 0, -1)]
    [older] = [link for link in first.links if "page=2" in link]
    assert f"{REQUESTS}/asked-0" in (await visitor.open(older)).links
    shown = await visitor.open(asked[0])
    assert "No model was asked" in shown.text
    assert "secret words" not in shown.text + first.text
    await visitor.open(f"{REQUESTS}/no-such", 404)
    assert "No request is like that." in (await visitor.open(f"{REQUESTS}?alias=x")).text
    assert "No request is like that." in (await visitor.open(f"{REQUESTS}?owner=us")).text
    assert "No request is like that." in (await visitor.open(f"{REQUESTS}?status=5xx")).text
    assert "status: String should match" in (await visitor.open(f"{REQUESTS}?status=all")).text


def test_bars_stand_side_by_side_and_the_shortest_is_seen() -> None:
    phases = [
        {"phase": "queue", "begins_ms": 0.0, "lasts_ms": 0.0},
        {"phase": "prefill", "begins_ms": 0.0, "lasts_ms": 75.0},
        {"phase": "decode", "begins_ms": 75.0, "lasts_ms": 25.0},
        {"phase": "settle", "begins_ms": 100.0, "lasts_ms": 0.0},
    ]
    found = [(bar.phase, bar.x, bar.width) for bar in bars_of(phases)]
    assert found == [
        ("queue", 0, 2),
        ("prefill", 0, 750),
        ("decode", 750, 250),
        ("settle", 998, 2),
    ]
    assert bars_of([]) == []


def use(site: AdminSite, day: int, agent: str, **fields: object) -> None:
    """A request of October 2026: 5 + 7 tokens."""
    began = datetime(2026, 10, day, tzinfo=UTC).timestamp()
    told = {"completion_tokens": 7, "currency": "NOK", "agent_id": agent, "started_at": began}
    record = used("2026-10", "acme", 5, **{**told, **fields})
    with closing(site.ledger.open_books()) as books:
        add(books, record)


async def test_usage_is_summed_and_shown_by_what_was_asked_for(
    site: AdminSite, visitor: Visitor
) -> None:
    use(site, 1, "=cmd|'/c calc'!A1", price_input=300_000_000_000)
    use(site, 3, "<script>x", price_input=400_000_200_000, currency="EUR")
    period = "first=2026-10-01&last=2026-10-31"
    page = await visitor.open(f"{USAGE}?{period}&by=agent_id")
    for words in ("1.500000 NOK", "2.000001 EUR", "<script>x", "=cmd|'/c calc'!A1", "1 requests"):
        assert words in page.text
    by_day = await visitor.open(f"{USAGE}?{period}")
    assert by_day.text.index("2026-10-03") < by_day.text.index("2026-10-01")
    for wrong, said in (
        ("first=2026-11-01&last=2026-10-01", "is after last"),
        ("first=yesterday", "first: Input should be a valid date"),
        ("by=weather", "Input should be"),
    ):
        assert said in (await visitor.open(f"{USAGE}?{wrong}")).text
    empty = await visitor.open(f"{USAGE}?first=1971-01-01&last=1971-01-02")
    assert "Nothing was used in that time." in empty.text


@pytest.mark.parametrize("period", ["first=2020-01-01", "first=2023-01-01"])
async def test_ages_of_usage_are_no_plot_but_a_table(
    site: AdminSite, visitor: Visitor, period: str
) -> None:
    use(site, 1, "a")
    answer = await site.client.get(f"{USAGE}?{period}")
    assert answer.status_code == 200
    assert "2026-10-01" in answer.text
    assert "data-plot" not in answer.text


async def test_many_lines_come_a_part_at_a_time(site: AdminSite, visitor: Visitor) -> None:
    for number in range(120):
        use(site, 1, f"a{number:03}")
    query = "first=2026-10-01&last=2026-10-01&by=agent_id"
    page = await visitor.open(f"{USAGE}?{query}&page=3")
    assert "101–120 of 120 lines" in page.text
    assert "120 requests" in page.text


async def test_what_a_role_may_not_see_is_no_page_of_it(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions(MEMBER)) as site:
        page = SeenPage(await site.client.get(REQUESTS))
        assert not [link for link in page.links if link in (AUDIT, "/console/owners")]
