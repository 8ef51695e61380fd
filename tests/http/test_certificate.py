"""A server's certificate: what is no good one, and how a new one is taken."""

import asyncio
import logging
import re
import socket
import ssl
import time
from pathlib import Path

import pytest
import uvloop

from server.http import certificate as certificate_file
from server.http import listener as listener_file
from server.http.certificate import BadCertificate, ServedCertificate
from server.http.listener import Listener
from tests.support.certificates import Made, made
from tests.support.serving import wait_until

ONE = made()
OTHER = made(last_day=60)


def handed_out(served: ServedCertificate, trusted: Made) -> bool:
    """Whether a new connection, made in memory, gets the certificate that is trusted."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = served.context.wrap_bio(to_server, to_client, server_side=True)
    client = trusted.trusted().wrap_bio(to_client, to_server, server_hostname="localhost")
    try:
        for _ in range(3):
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError:
        return False
    assert client.version() == "TLSv1.3"
    return True


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_files_that_have_changed_are_for_new_connections(tmp_path: Path) -> None:
    told: list[float] = []
    served = ServedCertificate(*ONE.lie_at(tmp_path))
    served.on_new = lambda: told.append(served.newest.ends_at)
    served.look()
    assert handed_out(served, ONE)
    assert not handed_out(served, OTHER)
    assert told == []

    OTHER.lie_at(tmp_path)
    served.look()
    assert handed_out(served, OTHER)
    assert not handed_out(served, ONE)
    assert told == [OTHER.ends_at]


def test_a_folder_that_is_swapped_behind_a_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes does with a secret's volume."""
    for name, pair in (("one", ONE), ("other", OTHER)):
        (tmp_path / name).mkdir()
        pair.lie_at(tmp_path / name)
    link, new = tmp_path / "data", tmp_path / "new"
    link.symlink_to("one")
    served = ServedCertificate(link / "cert.pem", link / "key.pem")
    new.symlink_to("other")
    new.replace(link)
    served.look()
    assert handed_out(served, OTHER)


@pytest.mark.parametrize("first", ["cert", "key"])
def test_a_pair_in_the_middle_of_being_written_is_waited_for_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    paths = dict(zip(("cert", "key"), ONE.lie_at(tmp_path), strict=True))
    served = ServedCertificate(paths["cert"], paths["key"])
    for name in (first, "key" if first == "cert" else "cert"):
        text = OTHER.cert if name == "cert" else OTHER.key
        assert handed_out(served, ONE)
        paths[name].write_bytes(text[:100])
        served.look()
        assert handed_out(served, ONE)
        paths[name].write_bytes(text)
        served.look()
    assert handed_out(served, OTHER)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("wrong", [b"", b"rubbish", OTHER.cert, OTHER.cert[:-60], None])
def test_a_pair_that_stays_wrong_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: bytes | None
) -> None:
    cert, key = ONE.lie_at(tmp_path)
    served = ServedCertificate(cert, key)
    cert.unlink() if wrong is None else cert.write_bytes(wrong)
    for _ in range(4):
        served.look()
    assert asyncio.run(served.read_again()) == "The certificate has a mistake."
    [line] = warnings_of(caplog)
    assert line.endswith("The certificate before it stays in use.")
    assert handed_out(served, ONE)
    assert served.newest.ends_at == ONE.ends_at

    OTHER.lie_at(tmp_path)
    served.look()
    assert handed_out(served, OTHER)


def test_an_operator_who_asks_has_it_read_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, _ = ONE.lie_at(tmp_path)
    served = ServedCertificate(*ONE.lie_at(tmp_path))
    cert.write_bytes(OTHER.cert)
    assert asyncio.run(served.read_again()) == "The certificate has a mistake."
    assert "is not the key of" in warnings_of(caplog)[0]
    OTHER.lie_at(tmp_path)
    assert asyncio.run(served.read_again()) == "The certificate was read again."
    assert handed_out(served, OTHER)


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (made(first_day=-9, last_day=-2), r"has ended on \d{4}-\d\d-\d\d .*clients refuse it"),
        (made(first_day=2), r"is for after \d{4}-\d\d-\d\d .* only; clients refuse it"),
    ],
)
def test_one_that_is_out_of_its_time_serves_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pair: Made, complaint: str
) -> None:
    ServedCertificate(*pair.lie_at(tmp_path)).tell(time.time())
    [line] = warnings_of(caplog)
    assert re.search(complaint, line), line


def test_a_wrong_pair_raises_with_its_file_and_without_its_text(tmp_path: Path) -> None:
    cert, key = made(passphrase=b"secret").lie_at(tmp_path)
    with pytest.raises(BadCertificate, match=r"key\.pem asks for a passphrase") as refused:
        ServedCertificate(cert, key)
    assert "secret" not in str(refused.value)
    assert "BEGIN" not in str(refused.value)


class Counted(asyncio.Protocol):
    """Says how many connections there were."""

    seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counted.seen += 1


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_that_is_not_ended_is_cut_in_time_and_nobody_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listener_file, "HANDSHAKE_TIMEOUT_S", 0.2)
    tls = ServedCertificate(*ONE.lie_at(tmp_path)).context
    seen = Counted.seen
    bound = socket.create_server(("127.0.0.1", 0))

    async def answer() -> bytes:
        server = await Listener(bound, tls).serve(Counted, 100, 30.0)
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(sent)
        try:
            async with asyncio.timeout(30):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()
            server.close()

    with bound:
        assert uvloop.run(answer()) == b""
    assert Counted.seen == seen


def test_looks_go_on_until_they_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_file, "LOOK_S", 0.01)
    served = ServedCertificate(*ONE.lie_at(tmp_path))

    async def changed() -> None:
        watching = asyncio.create_task(served.watch())
        OTHER.lie_at(tmp_path)
        await asyncio.to_thread(
            wait_until, lambda: served.newest.ends_at == OTHER.ends_at, "the new one is taken"
        )
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(changed())
