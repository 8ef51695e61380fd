"""What comes of the fields that /v1/messages has no place for."""

from collections.abc import Mapping
from typing import Final

from server.api.fields import CHAT, LEAVE_OUT, NONE, Refused

_OWN = ("thinking", "context_management", "instructions", "max_output_tokens", "stop_sequences")
MESSAGES: Final[Mapping[str, Refused]] = {
    **{name: field for name, field in CHAT.items() if name not in _OWN},
    "container": Refused(LEAVE_OUT),
    "mcp_servers": Refused("tools", NONE),
    "response_format": Refused("output_config.format"),
    "reasoning_effort": Refused("output_config.effort"),
    "reasoning": Refused("thinking"),
    "instructions": Refused("system", ("",)),
    "max_completion_tokens": Refused("max_tokens"),
    "max_output_tokens": Refused("max_tokens"),
    "n": Refused("several requests", (1,)),
    "stop_token_ids": Refused("stop_sequences", NONE),
    "logprobs": Refused("/v1/chat/completions", (False,)),
    "top_logprobs": Refused("/v1/chat/completions", (0,)),
    "parallel_tool_calls": Refused("tool_choice.disable_parallel_tool_use", (True,)),
    "truncate_prompt_tokens": Refused("a shorter conversation"),
}
