"""What a person sees once the models serve: the address, the key, one line to paste."""

import asyncio
import json
import time
from dataclasses import dataclass

import typer

from engines.fleet.fleet import Fleet
from engines.registry.registry import Registry
from server.cli.first_start import FirstKey

QUESTION = "What is the capital of Norway?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    url: str
    registry: Registry
    key: FirstKey | None
    needs_key: bool
    began: float
    """time.monotonic() of the process' start."""


async def announce(fleet: Fleet, announcement: Announcement) -> None:
    """A new key at once (it is shown only now), the rest when the preloaded models serve."""
    typer.echo(_greeting(announcement))
    while not fleet.is_ready():  # noqa: ASYNC110 - the fleet promises states, not events
        await asyncio.sleep(0.1)
    took_s = time.monotonic() - announcement.began
    typer.echo(f"\nReady after {took_s:.1f} s. Try it:\n\n  {curl_line(announcement)}\n")


def _greeting(announcement: Announcement) -> str:
    registry = announcement.registry
    count = len(registry.models)
    lines = [
        f"Fjord at {announcement.url}, profile {registry.profile}, "
        f"{count} model{'' if count == 1 else 's'}: {', '.join(registry.models)}",
        *_key_lines(announcement),
    ]
    return "\n".join(lines)


def _key_lines(announcement: Announcement) -> list[str]:
    key = announcement.key
    if not announcement.needs_key:
        return ["No key is needed (--no-auth)."]
    if key is None:
        return ["Keys: `fjord keys create` makes one, `fjord keys list` lists them."]
    if key.kept_at is None:
        return [f"API key: {key.text}", "It is shown this once; `fjord keys create` makes more."]
    return [
        f"API key: {key.text}",
        f"It is kept in {key.kept_at}, for you alone; delete that file once you have other keys.",
    ]


def curl_line(announcement: Announcement) -> str:
    key = announcement.key.text if announcement.key else "YOUR_KEY"
    header = f'-H "X-API-Key: {key}" ' if announcement.needs_key else ""
    alias = chat_alias(announcement.registry)
    messages = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": alias, "messages": messages, "temperature": 0})
    return (
        f"curl {announcement.url}/v1/chat/completions {header}"
        f"-H \"Content-Type: application/json\" -d '{body}'"
    )


def chat_alias(registry: Registry) -> str:
    """The first model that chats, a preloaded one where there is one."""
    chatting = [m for m in registry.models.values() if m.engine.task == "generate"]
    ranked = sorted(chatting or registry.models.values(), key=lambda m: not m.preload)
    return ranked[0].alias
