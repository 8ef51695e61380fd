"""The conformance kit: all green on Fjord, and it cites the contract; its command."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.conform import app
from server.conform.catalogue import all_checks
from tests.support.conforming import MODELS, conform, unmet
from tests.support.paths import ROOT
from tests.support.serving import Served, server_of

RULE = re.compile(r'<a id="([a-z0-9-]+)"></a>\*\*(documented|declared)\*\*( ◦)?')
served = server_of(*MODELS)


@pytest.mark.slow
def test_fjord_keeps_every_rule(served: Served) -> None:
    others = {
        "reasoning_model": "thinking",
        "embedding_model": "vectors",
        "rerank_model": "ranks",
        "speech_model": "ears",
        "vision_model": "seeing",
    }
    results = conform(served, thorough=True, **others)
    assert unmet(results) == {}
    skipped = {r.check.id for r in results if r.verdict == "skipped"}
    assert skipped == {
        "context.default_max_tokens_shrinks",
        "forms.bounded_calls",
        "forms.required_tool",
        "forms.streamed_tool",
        "messages.a_tool_is_called_and_answered",
    }


@pytest.mark.slow
def test_a_model_with_a_short_context_and_tools_keeps_every_rule(served: Served) -> None:
    topics = {"answers", "context", "fields", "forms", "messages", "streams"}
    results = conform(served, topics=topics, thorough=True, model="small")
    assert unmet(results) == {}
    assert {r.check.id for r in results if r.verdict != "pass"} == {"messages.thinking"}


def test_every_check_cites_a_rule_of_the_contract_and_every_rule_seen_from_outside_has_one() -> (
    None
):
    rules = {
        m[1]: (m[2], bool(m[3])) for m in RULE.finditer((ROOT / "docs/contract.md").read_text())
    }
    checks = all_checks()
    assert len({c.id for c in checks}) == len(checks) >= 80
    for check in checks:
        assert check.rule in rules, f"{check.id} cites {check.cites}"
        assert check.source == rules[check.rule][0], check.id
        assert check.title, check.id
    seen = {rule for rule, (_, is_hidden) in rules.items() if not is_hidden}
    assert seen == {c.rule for c in checks}


# The command


def test_the_command_prints_a_table_writes_json_and_counts_failures(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    given = ["--base-url", served.url, "--api-key", served.new_key(), "--only", "keys."]
    done = CliRunner().invoke(app, [*given, "--json", str(file)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "keys.x_api_key" in done.output
    assert "11 passed, 0 failed, 0 differ" in done.output
    body = json.loads(file.read_text())
    assert body["counts"] == {"pass": 11}
    assert {"id", "source", "cites", "verdict", "expected", "seen"} <= set(body["checks"][0])
    assert served.key not in file.read_text() + done.output
    wrong = ["--base-url", served.url, "--api-key", "wrong", "--model", "mixtral-8x7b"]
    done = CliRunner().invoke(app, [*wrong, "--only", "keys.", "--json", str(file)])
    failed = json.loads(file.read_text())["counts"]["fail"]
    assert done.exit_code == failed >= 2


def test_an_address_where_nobody_listens_is_told_in_one_line() -> None:
    given = ["--base-url", "http://127.0.0.1:9", "--api-key", "x"]
    done = CliRunner().invoke(app, given)
    assert "127.0.0.1:9" in str(done.exception)
    assert done.exit_code != 0
