"""Bodies to try, and answers to them, as the document shows them."""

from collections.abc import Mapping
from typing import Any

_CAPITAL = "What is the capital of Norway?"
_SYSTEM = {"role": "system", "content": "You are a helpful assistant."}

CHAT: Mapping[str, Any] = {
    "a question": {
        "model": "qwen3-235b-thinking",
        "messages": [_SYSTEM, {"role": "user", "content": _CAPITAL}],
        "temperature": 0.7,
        "max_tokens": 256,
    },
    "hello": {
        "model": "mixtral-8x7b",
        "messages": [_SYSTEM, {"role": "user", "content": "Hello!"}],
        "temperature": 0.7,
        "max_tokens": 100,
    },
    "streaming": {
        "model": "qwen3-80b-instruct",
        "messages": [{"role": "user", "content": "Write a story"}],
        "stream": True,
        "max_tokens": 500,
    },
    "an AI agent": {
        "model": "deepseek-v3",
        "messages": [{"role": "user", "content": "Help me code"}],
        "agent_id": "ephemeral",
        "tools": [],
        "tool_choice": "auto",
    },
}
"""The published page's own, word for word."""
CHAT_ANSWER: Mapping[str, Any] = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "qwen3-235b-thinking",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The capital of Norway is Oslo."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32},
}
COMPLETION = {"a text": {"model": "mixtral-8x7b", "prompt": "Oslo is", "max_tokens": 20}}
RESPONSE = {
    "a question": {
        "model": "mixtral-8x7b",
        "instructions": "You are a helpful assistant.",
        "input": _CAPITAL,
        "max_output_tokens": 256,
    }
}
EMBEDDINGS = {"two texts": {"model": "all-minilm-l6-v2", "input": ["Oslo", "Bergen"]}}
TOKENIZE = {
    "messages": {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": _CAPITAL}]}
}
MODELS: tuple[Mapping[str, Any], ...] = tuple(
    {"id": alias, "object": "model", "owned_by": "wayscloud", "created": 1700000000}
    for alias in ("mixtral-8x7b", "qwen3-80b-instruct", "deepseek-v3")
)
OLLAMA_CHAT: Mapping[str, Any] = {
    "a question": {
        "model": "mixtral-8x7b",
        "messages": [{"role": "user", "content": _CAPITAL}],
        "stream": False,
    },
}
OLLAMA_GENERATE: Mapping[str, Any] = {
    "a prompt": {
        "model": "mixtral-8x7b",
        "prompt": _CAPITAL,
        "options": {"num_predict": 32},
        "stream": False,
    },
}
MESSAGES: Mapping[str, Any] = {
    "a question": {
        "model": "mixtral-8x7b",
        "max_tokens": 256,
        "messages": [{"role": "user", "content": _CAPITAL}],
    },
}
