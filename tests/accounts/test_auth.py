"""Keys on the request path: who may come in, and what the others are told."""

import time
from typing import Any

import pytest

from server.accounts.auth import AuthFailed, KeyRing, ModelNotAllowed, WrongService, check_model
from server.ledger.keys import Key, hash_of, new_key_text
from server.ledger.records import Caller
from tests.support.serving import wait_until

SECRET = "wayscloud_llm_abc12_YOUR_SECRET"  # the page's own sample, of no documented length


def key(text: str = SECRET, **fields: Any) -> Key:
    plain: dict[str, Any] = {"key_id": "key0000001", "name": "n", "owner": "acme"}
    return Key(**(plain | {"secret_hash": hash_of(text)} | fields))


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


@pytest.mark.parametrize(
    "headers",
    [
        [header("x-api-key", SECRET)],
        [header("authorization", f"Bearer {SECRET}")],
        [header("authorization", f"bearer {SECRET}")],
        [header("authorization", f"BEARER   {SECRET} ")],
        [header("authorization", "Bearer wrong"), header("x-api-key", SECRET)],
        [header("x-api-key", SECRET), header("authorization", "Bearer wrong")],
        [header("x-api-key", ""), header("authorization", f"Bearer {SECRET}")],
    ],
)
def test_a_key_is_found_in_either_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert KeyRing([key()]).authenticate(headers).key_id == "key0000001"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [header("x-api-key", "wrong"), header("authorization", f"Bearer {SECRET}")],
        [header("authorization", SECRET)],
        [header("authorization", f"Basic {SECRET}")],
        [header("authorization", "Bearer ")],
        [header("x-api-key", SECRET + "x")],
        [header("x-api-key", SECRET.upper())],
        [(b"x-api-key", b"\xff\xfe")],
    ],
)
def test_anything_else_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(AuthFailed):
        KeyRing([key()]).authenticate(headers)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"revoked_at": 1.0}, "revoked"), ({"expires_at": time.time() - 1}, "expired")],
)
def test_a_revoked_or_expired_key_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(AuthFailed, match=reason):
        KeyRing([key(**fields)]).find(SECRET)


def test_a_key_expires_without_a_reload() -> None:
    expires_at = time.time() + 1.0
    ring = KeyRing([key(expires_at=expires_at)])
    assert ring.find(SECRET)
    wait_until(lambda: time.time() > expires_at, "the key expires")
    with pytest.raises(AuthFailed, match="expired"):
        ring.find(SECRET)


@pytest.mark.parametrize("text", ["wayscloud_dns_abc12_SECRET", "wayscloud_storage_x_y"])
def test_a_key_of_another_service_is_told_so(text: str) -> None:
    with pytest.raises(WrongService, match=text.split("_")[1]):
        KeyRing([key()]).find(text)


@pytest.mark.parametrize("text", ["wayscloud_llm_abc12_OTHER", "wayscloud_", "sk-1234", "_dns_x"])
def test_an_unknown_key_is_told_nothing(text: str) -> None:
    with pytest.raises(AuthFailed, match="Unknown"):
        KeyRing([key()]).find(text)


def test_an_admin_key_opens_admin_and_nothing_else() -> None:
    admin = new_key_text("admin", "adminkey01")
    ring = KeyRing([key(), key(admin, key_id="adminkey01", service="admin")])
    assert ring.find(admin, service="admin").is_admin
    with pytest.raises(WrongService):
        ring.find(admin)
    with pytest.raises(WrongService):
        ring.find(SECRET, service="admin")


def test_a_rotated_keys_old_text_counts_until_its_time() -> None:
    now = time.time()
    rotated = key("new", previous_hash=hash_of("old"), previous_until=now + 60)
    assert KeyRing([rotated]).find("old") == KeyRing([rotated]).find("new")
    late = key("new", previous_hash=hash_of("old"), previous_until=now - 1)
    with pytest.raises(AuthFailed):
        KeyRing([late]).find("old")


def test_replacing_the_keys_forgets_the_old_ones() -> None:
    ring = KeyRing([key()])
    ring.replace([key("other", key_id="key0000002")])
    assert ring.find("other").key_id == "key0000002"
    with pytest.raises(AuthFailed):
        ring.find(SECRET)


def test_what_changes_alone_leaves_the_other_keys_as_they_are() -> None:
    now = time.time()
    ring = KeyRing([key(), key("other", key_id="key0000002")])
    rotated = key("new", previous_hash=hash_of(SECRET), previous_until=now + 60)
    ring.change([rotated], frozenset())
    assert ring.find("new") == ring.find(SECRET)
    ring.change([key("newer", revoked_at=None)], frozenset({"key0000002", "never there"}))
    assert [one.key_id for one in ring.all_keys()] == [ring.find("newer").key_id]
    for text in (SECRET, "new", "other"):
        with pytest.raises(AuthFailed):
            ring.find(text)
    ring.change([key("newer", revoked_at=now)], frozenset())
    with pytest.raises(AuthFailed, match="revoked"):
        ring.find("newer")


def test_tables_that_were_are_handed_back() -> None:
    ring = KeyRing([key()])
    take = ring.prepared([key("other", key_id="key0000002")])
    assert ring.find(SECRET)
    assert [len(each) for each in take()] == [1, 1]
    assert ring.find("other").key_id == "key0000002"


def test_a_key_may_be_limited_to_some_models() -> None:
    caller = Caller(key_id="k", name="n", owner="o", models=frozenset({"deepseek-v3"}))
    check_model(caller, "deepseek-v3")
    check_model(Caller(key_id="k", name="n", owner="o"), "anything")
    with pytest.raises(ModelNotAllowed, match="deepseek-v3"):
        check_model(caller, "kimi-k2")


def test_no_refusal_repeats_the_secret() -> None:
    for text in ("wayscloud_dns_abc12_S3CRET", "S3CRET-unknown"):
        with pytest.raises((AuthFailed, WrongService)) as refusal:
            KeyRing([key()]).find(text)
        assert "S3CRET" not in str(refusal.value)


def test_a_key_is_checked_in_under_20_microseconds_among_ten_thousand() -> None:
    ring = KeyRing(key(f"text-{n}", key_id=f"{n:010d}") for n in range(10_000))
    headers = [header("host", "x"), header("accept", "*/*"), header("x-api-key", "text-77")]
    rounds = []
    for _ in range(20):
        began = time.thread_time()
        for _ in range(1000):
            ring.authenticate(headers)
        rounds.append((time.thread_time() - began) / 1000)
    assert min(rounds) < 20e-6
