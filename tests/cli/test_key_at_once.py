"""A key works in the line of a script that follows the one which made it."""

import json
from pathlib import Path

from tests.support.serve_process import REGISTRY, ask, fjord, serving_registry


def test_a_key_that_a_command_has_made_opens_the_running_server(tmp_path: Path) -> None:
    with serving_registry(tmp_path, REGISTRY.format(args="{}")) as server:
        url = f"http://127.0.0.1:{server.port}"
        made = json.loads(fjord(tmp_path, "keys", "create", "--name", "n", "--json").stdout)
        assert ask(url, made["key"]).status_code == 200
        assert fjord(tmp_path, "keys", "revoke", made["key_id"], "--yes").returncode == 0
        assert ask(url, made["key"]).status_code == 401
