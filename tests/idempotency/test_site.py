"""A key holds for a whole site: whichever node is asked, the first answers, and there is one
record."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from server.idempotency.entry import Entry, TooManyKeys
from server.idempotency.site_store import SiteAnswers
from server.idempotency.store import KeptAnswers
from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.memory.database import SharedMemory
from server.memory.site_key import made_site_key
from server.refusal import CannotStart
from tests.support.keyed import CHAT, REPLAYED, both_ways, chat, records
from tests.support.recordings import tone
from tests.support.serve_process import fjord
from tests.support.serving import Served, scripted, serving, wait_until
from tests.support.sites import new_site, postgres_server
from tests.support.wire_checks import assert_error

pytestmark = pytest.mark.slow
MODELS = (
    scripted("m"),
    scripted("slow", text=" ".join(f"word{i}" for i in range(40)), token_delay_s=0.03),
    scripted("dies", text="one two three four", die_after_tokens=3, token_delay_s=0.2),
    scripted("ears", task="transcribe"),
)
LOST: Final = "UPDATE idempotency_entries SET beat_at = now() - interval '2 minutes'"
_numbers = count()


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


class Site:
    """Two nodes that have one API key's clients."""

    def __init__(self, database: Any, folder: Path, stack: ExitStack) -> None:
        made_site_key(folder / "site.key")
        self.database, self.url = database, new_site(database)
        self.settings = {"ledger_url": self.url, "memory_key": folder / "site.key"}
        self.nodes = [
            stack.enter_context(serving(folder / name, *MODELS, settings=self.settings))
            for name in ("n1", "n2")
        ]
        self.one, self.two = (self._client(node) for node in self.nodes)
        stack.callback(self.one.close)
        stack.callback(self.two.close)

    def _client(self, node: Served) -> httpx.Client:
        headers = self.nodes[0].headers
        client = httpx.Client(base_url=node.url, headers=headers, timeout=60)
        wait_until(lambda: client.get("/v1/models").status_code == 200, "the node knows the key")
        return client

    def wait_until_first_runs(self) -> None:
        running = self.nodes[0].services.keyed._running
        wait_until(lambda: any(r.claimed.done() for r in running.values()), "the first runs")

    def records(self) -> list[dict[str, Any]]:
        return [record for node in self.nodes for record in records(node)]

    def asked(self, sql: str) -> list[Any]:
        with closing(PostgresDatabase(postgres.connect(self.url))) as books:
            return books.query(sql) if sql.lstrip().startswith("SELECT") else [books.execute(sql)]


@pytest.fixture(scope="module")
def site(database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(database, tmp_path_factory.mktemp("site"), stack)


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": f"s-{next(_numbers)}"}


@both_ways
def test_a_retry_on_another_node_gets_the_first_answer(
    site: Site, key: dict[str, str], stream: bool
) -> None:
    before = len(site.records())
    first = site.one.post(CHAT, json=chat(stream), headers=key)
    again = site.two.post(CHAT, json=chat(stream), headers=key)
    assert (first.status_code, again.content) == (200, first.content)
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert again.headers["content-type"] == first.headers["content-type"]
    other = site.two.post(CHAT, json=chat(stream, seed=1), headers=key)
    assert_error(other, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
    assert len(site.records()) == before + 1


def test_forms_too(site: Site, key: dict[str, str]) -> None:
    before = len(site.records())
    for path, data, file in (
        ("/v1/files", {"purpose": "batch"}, b"{}"),
        ("/v1/audio/transcriptions", {"model": "ears"}, tone(1.0)),
    ):
        first, again = (
            node.post(path, data=data, files={"file": ("a", file)}, headers=key)
            for node in (site.one, site.two)
        )
        assert (first.status_code, again.content) == (200, first.content)
        assert again.headers[REPLAYED] == "true"
    assert len(site.records()) == before + 1
    assert [len(n.get("/v1/files").json()["data"]) for n in (site.one, site.two)] == [1, 0]


@both_ways
def test_many_at_once_on_all_nodes_are_one(site: Site, key: dict[str, str], stream: bool) -> None:
    before, body = len(site.records()), chat(stream, "slow")
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(node.post, CHAT, json=body, headers=key)
            for node in (site.one, site.two) * 6
        ]
        answers = [each.result() for each in asked]
    assert {r.status_code for r in answers} == {200}
    assert len({r.content for r in answers}) == 1
    assert sum(REPLAYED in r.headers for r in answers) == 11
    assert len(site.records()) == before + 1


def test_another_body_is_refused_while_another_node_answers_and_its_key_has_no_slot(
    site: Site, key: dict[str, str]
) -> None:
    body, keyed = chat(True, "slow"), site.nodes[1].services.keyed
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(site.one.post, CHAT, json=body, headers=key)
        site.wait_until_first_runs()
        other = site.two.post(CHAT, json=chat(True, "slow", seed=1), headers=key)
        assert_error(other, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
        assert not first.done()
        again = pool.submit(site.two.post, CHAT, json=body, headers=key)
        wait_until(lambda: keyed._running, "it waits")
        limiter = site.nodes[1].services.limiter
        wait_until(
            lambda: all(account.held == 0 for account in limiter.accounts.values()), "no slot"
        )
        assert again.result().content == first.result().content


def test_who_waits_is_told_after_a_while_to_ask_again(site: Site, key: dict[str, str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(site.one.post, CHAT, json=chat(True, "slow"), headers=key)
        site.wait_until_first_runs()
        patient = key | {"X-Request-Timeout": "0.1"}
        told = site.two.post(CHAT, json=chat(True, "slow"), headers=patient)
        assert_error(told, 409, "IDEMPOTENCY_IN_PROGRESS", "Idempotency-Key")
        assert told.headers["retry-after"] == "2"
        assert "x-should-retry" not in told.headers
    again = site.two.post(CHAT, json=chat(True, "slow"), headers=key)
    assert again.content == first.result().content


def test_who_leaves_while_it_waits_ends_nothing(site: Site, key: dict[str, str]) -> None:
    before, body = len(site.records()), chat(False, "slow")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(site.one.post, CHAT, json=body, headers=key)
        site.wait_until_first_runs()
        with pytest.raises(httpx.ReadTimeout):
            site.two.post(CHAT, json=body, headers=key, timeout=httpx.Timeout(60, read=0.2))
        again = pool.submit(site.two.post, CHAT, json=body, headers=key)
        assert again.result().content == first.result().content
    keyed = site.nodes[1].services.keyed
    wait_until(lambda: not keyed._running, "nobody waits any more")
    limiter = site.nodes[1].services.limiter
    wait_until(lambda: all(a.held == 0 for a in limiter.accounts.values()), "no slot is held")
    assert len(site.records()) == before + 1


def test_who_waited_for_one_that_failed_is_the_first(site: Site, key: dict[str, str]) -> None:
    before, body = len(site.records()), chat(True, "dies")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(site.one.post, CHAT, json=body, headers=key)
        site.wait_until_first_runs()
        second = pool.submit(site.two.post, CHAT, json=body, headers=key)
        answers = [first.result(), second.result()]
    assert all(REPLAYED not in r.headers for r in answers)
    assert all("error" in r.text for r in answers)
    assert len(site.records()) == before + 2


def test_the_key_of_a_node_that_died_is_free_and_its_record_stays_one(
    site: Site, key: dict[str, str]
) -> None:
    """A claim of a process that says nothing any more, whose record nobody has seen."""
    first = site.one.post(CHAT, json=chat(), headers=key)
    [(record_id,)] = site.asked(
        "SELECT record_id FROM idempotency_entries ORDER BY began DESC LIMIT 1"
    )
    site.asked(
        "UPDATE idempotency_entries SET answer = NULL, is_over = false, node = 'gone/1', "
        f"record_id = '{record_id}-of-the-dead' WHERE record_id = '{record_id}'"
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.two.post, CHAT, json=chat(), headers=key)
        wait_until(lambda: site.nodes[1].services.keyed._running, "it waits while there is hope")
        other = site.one.post(CHAT, json=chat(seed=1), headers=key)
        assert_error(other, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
        site.asked(LOST)
        answer = waiting.result()
    assert (answer.status_code, REPLAYED in answer.headers) == (200, False)
    assert answer.json()["id"] != first.json()["id"]
    assert [r["record_id"] for r in records(site.nodes[1])][-1] == f"{record_id}-of-the-dead"
    assert site.one.post(CHAT, json=chat(), headers=key).content == answer.content


@pytest.mark.parametrize(("amount", "status"), [(5, 409), (0, 200)])
def test_what_a_dead_node_recorded_is_never_billed_again(
    site: Site, key: dict[str, str], amount: int, status: int
) -> None:
    site.one.post(CHAT, json=chat(), headers=key)
    [(record_id,)] = site.asked(
        "SELECT record_id FROM idempotency_entries ORDER BY began DESC LIMIT 1"
    )
    shipped = f"SELECT 1 FROM usage_records WHERE record_id = '{record_id}'"
    wait_until(lambda: site.asked(shipped), "it has come to the site")
    site.asked(f"UPDATE usage_records SET amount = {amount} WHERE record_id = '{record_id}'")
    site.asked(
        "UPDATE idempotency_entries SET answer = NULL, is_over = false, node = 'gone/1', "
        f"beat_at = now() - interval '2 minutes' WHERE record_id = '{record_id}'"
    )
    answer = site.two.post(CHAT, json=chat(), headers=key)
    assert answer.status_code == status, answer.text
    if status == 409:
        assert answer.json()["error"]["code"] == "IDEMPOTENCY_ANSWER_LOST"
    else:
        assert records(site.nodes[1])[-1]["record_id"] != record_id


def test_without_the_database_nothing_is_answered_under_a_key(
    site: Site, key: dict[str, str]
) -> None:
    """What was answered while it went is kept once it is there again."""
    before, known = len(site.records()), {"Idempotency-Key": "known before"}
    kept = site.one.post(CHAT, json=chat(), headers=known)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(site.one.post, CHAT, json=chat(False, "slow"), headers=key)
        site.wait_until_first_runs()
        site.database.stop()
        try:
            assert first.result().status_code == 200
            began = time.monotonic()
            for client in (site.one, site.two):
                for headers in (key, known):
                    refused = client.post(CHAT, json=chat(False, "slow"), headers=headers)
                    assert_error(refused, 503, "OVERLOADED")
                    assert refused.headers["retry-after"]
            assert time.monotonic() - began < 15  # not five seconds each
            assert site.two.post(CHAT, json=chat()).status_code == 200  # without a key it goes on
        finally:
            site.database.start()
    for client, headers, body, answer in (
        (site.one, key, chat(False, "slow"), first.result()),
        (site.two, key, chat(False, "slow"), first.result()),
        (site.two, known, chat(), kept),
    ):
        again = reached(client, headers, body)
        assert (again.status_code, again.content) == (200, answer.content), again.text
    assert len(site.records()) == before + 3


def reached(client: httpx.Client, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    """Its answer once the database is there again."""
    answers: list[httpx.Response] = []

    def is_there() -> bool:
        answers.append(client.post(CHAT, json=body, headers=headers))
        return answers[-1].status_code != 503

    wait_until(is_there, "the database is known to be there")
    return answers[-1]


def test_what_is_forgotten_on_one_is_forgotten_on_all(site: Site, key: dict[str, str]) -> None:
    for node, other in ((site.one, site.two), (site.two, site.one)):
        headers = key | {"Idempotency-Key": f"forgotten {node.base_url}"}
        assert node.post(CHAT, json=chat(), headers=headers).status_code == 200
        assert other.post(CHAT, json=chat(), headers=headers).headers[REPLAYED]
    before = len(site.records())
    done = fjord(
        site.nodes[0].data_dir.parent,
        *("forget", "tests", "--yes", "--data-dir", str(site.nodes[0].data_dir)),
        *("--ledger-url", site.url),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "answers that were kept for an Idempotency-Key" in done.stdout
    assert site.asked("SELECT count(*) FROM idempotency_entries WHERE answer IS NOT NULL") == [(0,)]
    assert site.asked("SELECT sum(bytes)::bigint FROM idempotency_owners") == [(0,)]
    for node in (site.one, site.two):
        headers = key | {"Idempotency-Key": f"forgotten {site.one.base_url}"}
        lost = node.post(CHAT, json=chat(), headers=headers)
        assert_error(lost, 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
    assert len(site.records()) == before
    assert site.one.post(CHAT, json=chat(), headers=key).status_code == 200
    url = f"{site.nodes[1].url}/admin/v1/owners/tests/memory"
    operator = Key(key_id="", name="o", owner="operators", service="admin")
    with closing(PostgresDatabase(postgres.connect(site.url))) as books:
        admin = {"X-API-Key": KeyStore(books).create(operator)[1]}
    wait_until(lambda: httpx.delete(url, headers=admin).status_code == 200, "its key is known")
    assert_error(
        site.one.post(CHAT, json=chat(), headers=key),
        409,
        "IDEMPOTENCY_ANSWER_LOST",
        "Idempotency-Key",
    )


def test_nothing_readable_lies_in_the_database(site: Site) -> None:
    site.one.post(CHAT, json=chat(model="slow"), headers={"Idempotency-Key": "SECRET-KEY-OF-MINE"})
    rows = site.asked("SELECT * FROM idempotency_entries")
    assert rows
    for word in (b"word7", b"SECRET", b"chat.completion"):
        assert all(word not in value for row in rows for value in row if isinstance(value, bytes))
    assert not list(site.nodes[0].data_dir.glob("idempotency*"))


def test_a_site_without_the_key_shares_none(
    database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"ledger_url": new_site(database)}
    with serving(tmp_path / "n1", scripted("m"), settings=settings) as node:
        headers = node.headers | {"Idempotency-Key": "k"}
        with httpx.Client(base_url=node.url, timeout=60) as client:
            first, again = (reached(client, headers, chat()) for _ in range(2))
    assert (first.status_code, again.content) == (200, first.content)
    assert "FJORD_MEMORY_KEY to share it" in caplog.text
    assert (tmp_path / "n1" / "idempotency.sqlite3").exists()


def store_on(url: str, folder: Path, node: str, **options: Any) -> SiteAnswers:
    shared = SharedMemory(url)
    former = KeptAnswers(folder, 0)
    given: dict[str, Any] = {"most_bytes": 10_000, "charged": lambda _: None, "former": former}
    return SiteAnswers(shared.transaction, shared.close, node=node, **given | options)


def entry(name: str, owner: str = "acme", began: float | None = None) -> Entry:
    return Entry(
        entry_id=name.encode(),
        owner=owner.encode(),
        print=b"p",
        record_id=f"r-{name}",
        began=time.time() if began is None else began,
    )


def test_of_two_that_claim_at_once_one_has_it(database: Any, tmp_path: Path) -> None:
    url = new_site(database)
    with ExitStack() as stack:
        stores = [store_on(url, tmp_path, f"{name}/1") for name in ("a", "b")]
        for store in stores:
            stack.callback(store.close)
        for number in range(20):
            tried = [entry(f"k{number}") for _ in range(8)]
            with ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(stores[i % 2].claimed, e) for i, e in enumerate(tried)]
                found = [each.result() for each in asked]
            assert sum(f is t for f, t in zip(found, tried, strict=True)) == 1


def test_a_site_has_bounds_of_keys_and_bytes_and_forgets_after_a_day(
    database: Any, tmp_path: Path
) -> None:
    url, now = new_site(database), time.time()
    store = store_on(url, tmp_path, "a/1", most_keys=3)
    held = [entry(name, began=now - 86_500 + i) for i, name in enumerate("abc")]
    assert [store.claimed(e) is e for e in held] == [True] * 3
    with pytest.raises(TooManyKeys):
        store.claimed(entry("d"))
    assert store.claimed(entry("d", "others"))
    assert store.keep(held[0], b"x" * 4000)
    assert not store.keep(held[1], b"x" * 2000)  # over an owner's half
    assert not store.keep(entry("d", "others"), b"x" * 6001)
    newer = entry("a", began=now)
    assert store.claimed(newer) is newer  # past its day, and not swept yet
    store.expire(now)
    with closing(PostgresDatabase(postgres.connect(url))) as books:
        owners = books.query("SELECT owner, keys, bytes FROM idempotency_owners ORDER BY owner")
        assert owners == [("acme", 1, 0), ("others", 1, 0)]
    store.close()


def test_a_node_that_comes_to_a_site_lets_its_own_answers_go(tmp_path: Path, database: Any) -> None:
    own = KeptAnswers(tmp_path, 10_000)
    own.claimed(entry("old", began=1.0))
    own.close()
    store = store_on(new_site(database), tmp_path, "a/1")
    store.expire(time.time())
    store.close()
    with closing(sqlite3.connect(tmp_path / "idempotency.sqlite3")) as left:
        assert left.execute("SELECT count(*) FROM entries").fetchone() == (0,)


@pytest.mark.parametrize(("charged", "fate"), [(None, "nothing"), (0, "nothing"), (5, "billed")])
def test_a_node_that_is_back_judges_its_own_by_its_ledger(
    database: Any, tmp_path: Path, charged: int | None, fate: str
) -> None:
    url = new_site(database)
    before = store_on(url, tmp_path, "a/1")
    after = store_on(url, tmp_path, "a/2", charged=lambda _: charged)
    elsewhere = store_on(url, tmp_path, "b/1")
    first, again = entry("k"), entry("k")
    before.claimed(first)
    assert elsewhere.claimed(again).runs
    assert not elsewhere.replace(elsewhere.claimed(again), again)  # it may live
    found = after.claimed(again)
    assert (found.runs, found.record_id, after.fate(found)) == (False, "r-k", fate)
    assert after.replace(found, again)
    assert not after.replace(found, again)
    assert before.keep(first, b"late")  # and nobody sees it
    assert elsewhere.claimed(again).answer is None
    for store in (before, after, elsewhere):
        store.close()


def test_a_node_with_another_key_does_not_start(site: Site, tmp_path: Path) -> None:
    made_site_key(tmp_path / "other.key")
    settings: dict[str, Any] = {**site.settings, "memory_key": tmp_path / "other.key"}
    for store in ("never", "always"):
        settings["response_store"] = store
        with (
            pytest.raises(CannotStart, match="sealed with another key"),
            serving(tmp_path / store, scripted("m"), settings=settings),
        ):
            pass
