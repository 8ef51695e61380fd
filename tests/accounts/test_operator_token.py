"""The token of a data directory: its reader is the server's operator, and nobody else is."""

import stat
from pathlib import Path

import pytest

from server.accounts.auth import AuthFailed, KeyRing
from server.accounts.operator_token import OPERATOR, is_token, kept_token, operator_token
from server.api.admin.gate import AdminGate


def test_the_token_is_new_each_time_private_and_gone_with_the_server(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with operator_token(tmp_path) as token:
            (path,) = tmp_path.iterdir()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert kept_token(tmp_path) == token
            assert len(token) > 50
            tokens.add(token)
        assert kept_token(tmp_path) is None
        assert list(tmp_path.iterdir()) == []
    assert len(tokens) == 2


def test_what_a_killed_server_left_is_replaced_and_never_followed(tmp_path: Path) -> None:
    """A link planted there must not have the token written to where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "operator_token").symlink_to(elsewhere)
    with operator_token(data_dir) as token:
        assert kept_token(data_dir) == token
    assert elsewhere.read_text() == "mine"


@pytest.mark.parametrize("presented", [None, b"", b"wrong", b"t\xc3\xb8ken", b"token2"])
def test_only_the_token_is_the_token(presented: bytes | None) -> None:
    assert not is_token(presented, "token")
    assert not is_token(presented, "")


def test_the_gate_takes_the_token_where_there_is_one() -> None:
    async def app(*_: object) -> None: ...

    headers = [(b"authorization", b"Bearer token")]
    gate = AdminGate(app, KeyRing(), lambda *_: None, "token")
    assert gate._principal(headers).name == OPERATOR
    with pytest.raises(AuthFailed):
        AdminGate(app, KeyRing(), lambda *_: None)._principal(headers)
