"""Bodies of /v1/responses in the shape in which Codex CLI sends them."""

from typing import Any

LARK = 'start: "*** Begin Patch" /(.|\\n)+/ "*** End Patch"'
SHELL: dict[str, Any] = {
    "type": "function",
    "name": "shell",
    "description": "Runs a shell command and returns its output.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}},
        "required": ["command"],
        "additionalProperties": False,
    },
}
PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Use the `apply_patch` tool to edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": LARK},
}
GITHUB: dict[str, Any] = {
    "type": "namespace",
    "name": "mcp__github",
    "description": "Issues and pull requests",
    "tools": [SHELL | {"name": "search"}, PATCH | {"name": "comment"}],
}
SERVED_ELSEWHERE: list[dict[str, Any]] = [
    {"type": "local_shell"},
    {"type": "web_search", "external_web_access": False},
]
TOOLS = [SHELL, PATCH, GITHUB, *SERVED_ELSEWHERE]
USER: dict[str, Any] = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Fix the typo"}],
}
HISTORY: list[dict[str, Any]] = [
    {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Sandbox"}],
    },
    USER,
    {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "abc"},
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
    {
        "type": "local_shell_call",
        "call_id": "call_1",
        "status": "completed",
        "action": {"type": "exec", "command": ["ls"], "env": {}},
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "a.py"},
    {
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_2",
        "name": "apply_patch",
        "input": '*** Begin Patch\n+"ø"\n*** End Patch',
    },
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Success"},
    {
        "type": "function_call",
        "name": "search",
        "namespace": "mcp__github",
        "arguments": "{}",
        "call_id": "call_3",
    },
    {"type": "function_call_output", "call_id": "call_3", "output": USER["content"]},
    USER,
]
CODEX: dict[str, Any] = {
    "model": "tools",
    "instructions": "You are a coding agent.",
    "input": [USER],
    "tools": TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": None,
    "store": False,
    "include": [],
    "prompt_cache_key": "0199",
}
