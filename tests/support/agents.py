"""Coding agents from npm: the settings in docs/clients.md, their tools, how each is called."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import AGENTS, ROOT

MODEL = "mixtral-8x7b"
ASKED = "Mend the typo in greeting.py."
DONE = "The typo is mended."
BEFORE, AFTER = 'def greet():\n    return "helo"\n', 'def greet():\n    return "hello"\n'
PATCH = """\
*** Begin Patch
*** Update File: greeting.py
@@
-    return "helo"
+    return "hello"
*** End Patch"""
WORKSPACE = "/home/user/project"
"""Stands in a turn for the folder in which the agent works, and in recorded bodies."""


@dataclass(frozen=True)
class Agent:
    """A coding agent, called once without a person.

    title: its heading in docs/clients.md; settings: the file of its settings, under its home;
    command: its program in node_modules/.bin and that program's arguments; quiet: environment that
    turns telemetry and updates off; quiet_file: a file in the workspace that does;
    asks_outside: the hosts that it asks for in spite of it; key_variable: where its key is;
    turn: the tools by which it reads and edits, with their arguments.
    """

    name: str
    title: str
    settings: str
    endpoint: str
    command: Sequence[str]
    turn: Sequence[Mapping[str, Any]]
    quiet: Mapping[str, str]
    quiet_file: tuple[str, str] = ("", "")
    asks_outside: frozenset[str] = frozenset()
    key_variable: str = "FJORD_API_KEY"

    @property
    def program(self) -> Path:
        return AGENTS / "node_modules/.bin" / self.command[0]

    def turn_in(self, workspace: Path) -> list[dict[str, Any]]:
        """The turn's steps, with the paths of `workspace`."""
        steps: list[dict[str, Any]] = json.loads(
            json.dumps(list(self.turn)).replace(WORKSPACE, str(workspace))
        )
        return steps

    def settings_for(self, url: str) -> str:
        """The documented settings, for a server at `url`."""
        document = (ROOT / "docs/clients.md").read_text()
        section = document.split(f"\n## {self.title}\n")[1].split("\n## ")[0]
        [block] = re.findall(r"```(?:toml|json|yaml)\n(.*?)```", section, re.DOTALL)
        return str(block).replace("http://127.0.0.1:8080", url)


_FILE = f"{WORKSPACE}/greeting.py"
CODEX = Agent(
    name="codex",
    title="Codex CLI",
    settings=".codex/config.toml",
    endpoint="/v1/responses",
    command=(
        *("codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
        *("-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false"),
        *("--disable", "plugins", "--disable", "remote_plugin", "--disable", "apps"),
        ASKED,
    ),
    turn=(
        {"exec_command": {"cmd": "cat greeting.py"}},
        {"exec_command": {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"}},
    ),
    quiet={},
)
QWEN = Agent(
    name="qwen",
    title="Qwen Code",
    settings=".qwen/settings.json",
    endpoint="/v1/chat/completions",
    command=("qwen", "--approval-mode", "yolo", ASKED),
    turn=(
        {"read_file": {"file_path": _FILE}},
        {"edit": {"file_path": _FILE, "old_string": '"helo"', "new_string": '"hello"'}},
    ),
    quiet={"QWEN_CODE_SUPPRESS_YOLO_WARNING": "1"},
    quiet_file=(
        ".qwen/settings.json",
        json.dumps(
            {
                "privacy": {"usageStatisticsEnabled": False},
                "telemetry": {"enabled": False},
                "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
            }
        ),
    ),
)
OPENCODE = Agent(
    name="opencode",
    title="opencode",
    settings=".config/opencode/opencode.json",
    endpoint="/v1/chat/completions",
    command=(
        "opencode",
        "run",
        "--print-logs",
        "--log-level",
        "ERROR",
        "-m",
        f"fjord/{MODEL}",
        ASKED,
    ),
    turn=(
        {"read": {"filePath": _FILE}},
        {"edit": {"filePath": _FILE, "oldString": '"helo"', "newString": '"hello"'}},
    ),
    quiet={
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_SHARE": "1",
        "npm_config_registry": "http://127.0.0.1:9/",  # from which it fetches plugins' types
        "npm_config_fetch_retries": "0",
    },
)
CN = Agent(
    name="cn",
    title="Continue's cn",
    settings=".continue/config.yaml",
    endpoint="/v1/chat/completions",
    command=("cn", "--auto", "-p", ASKED),
    turn=(
        {"Read": {"filepath": _FILE}},
        {"Edit": {"file_path": _FILE, "old_string": '"helo"', "new_string": '"hello"'}},
    ),
    quiet={
        "CONTINUE_CLI_AUTO_UPDATED": "1",
        "CONTINUE_CLI_ENABLE_TELEMETRY": "0",
        "CONTINUE_METRICS_ENABLED": "0",
        "CONTINUE_TELEMETRY_ENABLED": "0",
    },
    asks_outside=frozenset({"api.continue.dev"}),  # which version is the newest
)
CLAUDE = Agent(
    name="claude",
    title="Claude Code",
    settings=".claude/settings.json",
    endpoint="/v1/messages",
    command=("claude", "-p", "--permission-mode", "acceptEdits", ASKED),
    turn=(
        {"Read": {"file_path": _FILE}},
        {"Edit": {"file_path": _FILE, "old_string": '"helo"', "new_string": '"hello"'}},
    ),
    quiet={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    },
    key_variable="ANTHROPIC_AUTH_TOKEN",
)
EVERY = (CODEX, QWEN, OPENCODE, CN, CLAUDE)
