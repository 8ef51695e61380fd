"""SIGHUP: a closed terminal, or an operator's `kill -HUP`, ends nothing and reads the registry."""

import signal
from pathlib import Path

import pytest

from tests.support.serve_process import serving, streaming, with_registry


@pytest.mark.slow
def test_a_hangup_is_logged_and_ends_no_stream(tmp_path: Path) -> None:
    with_registry(tmp_path, token_delay_s=0.05, text="a b c d e f g h")
    with serving(tmp_path, "--no-auth") as server:
        url = server.url()
        with streaming(url) as events:
            next(events)
            server.process.send_signal(signal.SIGHUP)
            server.until("SIGHUP: the registry is read again")
            server.until("read again; models that differ: 0")
            assert list(events)[-1] == "data: [DONE]"
        assert server.ends(signal.SIGTERM) == 0
