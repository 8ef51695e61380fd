"""What a start says: at a terminal the address, the key, one line to paste; else log lines."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from engines.fleet.fleet import Fleet
from engines.registry.registry import Registry
from engines.registry.spec import ModelSpec
from engines.weights.packages import model_name
from server.cli.first_start import FirstKey
from server.refusal import CannotStart

QUESTION = "What is the capital of Norway?"

log = logging.getLogger("fjord.start")


@dataclass(frozen=True, slots=True)
class ConsoleSaid:
    url: str
    link: str | None
    """Makes the first admin; None: there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    url: str
    """Of all that it listens on; for people."""
    curl: str
    """A command line's beginning, up to the server's URL."""
    ops_url: str | None
    """Where /metrics, /ready, /docs and /admin are, if apart."""
    registry: Registry
    key: FirstKey | None
    console: ConsoleSaid | None
    """None: it is not there."""
    needs_key: bool
    is_exposed: bool
    """Other machines reach the server."""
    has_reader: bool
    """A person at a terminal: to nobody else a key is shown."""
    began: float
    """time.monotonic() of the process' start."""


async def announce(fleet: Fleet, announcement: Announcement) -> None:
    """A new key at once (it is shown only now), the rest when the preloaded models serve. Whatever
    the log's level is: nobody finds a server whose address was not said. Raises CannotStart where
    a preloaded model never can."""
    log.setLevel(logging.INFO)
    say: Callable[[str], None] = typer.echo if announcement.has_reader else log.info
    for line in _greeting(announcement):
        say(line)
    while not fleet.is_ready():
        for engine in fleet.statuses():
            if engine.is_hopeless and engine.is_preloaded and engine.is_first:
                raise CannotStart(f"{', '.join(engine.aliases)} cannot run: {engine.reason}.")
        await asyncio.sleep(0.1)
    took_s = time.monotonic() - announcement.began
    if announcement.has_reader:
        typer.echo(f"\nReady after {took_s:.1f} s. Try it:\n\n  {curl_line(announcement)}\n")
    else:
        log.info("Ready after %.1f s.", took_s)


def _greeting(announcement: Announcement) -> list[str]:
    registry = announcement.registry
    count = len(registry.models)
    names = "1 model" if count == 1 else f"{count} models"
    return [
        f"Fjord at {announcement.url}, profile {registry.profile}, "
        f"{names}: {', '.join(registry.models)}",
        *_ops_said(announcement),
        *shared_lines(list(registry.models.values())),
        *_keys_said(announcement),
        *_console_said(announcement),
    ]


def _console_said(announcement: Announcement) -> list[str]:
    """The link is a secret: a log gets none."""
    console = announcement.console
    if console is None:
        return []
    if console.link is None:
        return [f"Console: {console.url}"]
    if not announcement.has_reader:
        return [f"Console: {console.url}; `fjord console link` shows the first admin's way in."]
    return ["Console, for the first admin, once:", f"  {console.link}"]


def _ops_said(announcement: Announcement) -> list[str]:
    if announcement.ops_url is None:
        return []
    return [f"At {announcement.ops_url}, and nowhere else: /metrics, /ready, /docs and /admin."]


def shared_lines(models: Sequence[ModelSpec]) -> list[str]:
    """Which names are one and the same model: nobody should take the small one for the large."""
    groups: dict[str, list[str]] = {}
    for model in models:
        groups.setdefault(model.engine.source, []).append(model.alias)
    return [
        f"{model_name(source)} answers under {_these_names(names, models)}."
        for source, names in groups.items()
        if len(names) > 1
    ]


def _these_names(names: Sequence[str], models: Sequence[ModelSpec]) -> str:
    others = [model.alias for model in models if model.alias not in names]
    if len(others) >= len(names):
        return f"the names {', '.join(names)}"
    return f"every name but {', '.join(others)}" if others else "every one of these names"


def _keys_said(announcement: Announcement) -> list[str]:
    if not announcement.needs_key:
        return ["No key is needed (--no-auth)."]
    if announcement.key is None:
        return ["Keys: `fjord keys create` makes one, `fjord keys list` lists them."]
    return key_lines(
        announcement.key, show=announcement.has_reader, is_exposed=announcement.is_exposed
    )


def key_lines(key: FirstKey, *, show: bool, is_exposed: bool) -> list[str]:
    """What is said of the first key; `show`: its text, too."""
    if is_exposed and not key.is_new:
        return [
            f"A key lies in the clear in {key.kept_at}, and other machines reach this server: "
            "delete that file once you have other keys (`fjord keys create`)."
        ]
    shown = [f"API key: {key.text}"] if show else []
    if key.kept_at is None:
        return [*shown, "It is shown this once; `fjord keys create` makes more."]
    what = "It" if show else "The API key"
    return [
        *shown,
        f"{what} is kept in {key.kept_at}, for you alone; "
        "delete that file once you have other keys.",
    ]


def curl_line(announcement: Announcement) -> str:
    key = announcement.key
    is_shown = key is not None and (key.is_new or not announcement.is_exposed)
    text = key.text if key is not None and is_shown else "YOUR_KEY"
    header = f'-H "X-API-Key: {text}" ' if announcement.needs_key else ""
    alias = chat_alias(announcement.registry)
    messages = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": alias, "messages": messages, "temperature": 0})
    return (
        f"{announcement.curl}/v1/chat/completions {header}"
        f"-H \"Content-Type: application/json\" -d '{body}'"
    )


def chat_alias(registry: Registry) -> str:
    """The first model that chats, a preloaded one where there is one."""
    chatting = [m for m in registry.models.values() if m.engine.task == "generate"]
    ranked = sorted(chatting or registry.models.values(), key=lambda m: not m.preload)
    return ranked[0].alias
