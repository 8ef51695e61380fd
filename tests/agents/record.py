"""`python -m tests.agents.record`: writes the bodies that each agent sends in a turn into bodies/.

Long texts are cut, and nothing of this machine stays: no path, port, key or session.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.testing.scripted import ScriptedEngine
from tests.support.agent_child import Place, run
from tests.support.agents import DONE, EVERY, MODEL, WORKSPACE, Agent
from tests.support.paths import AGENTS
from tests.support.serving import prepared, running, scripted

LONGEST_TEXT, LONGEST_DESCRIPTION = 160, 30
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def recorded(agent: Agent, folder: Path) -> list[Any]:
    """The bodies of one turn, in the order in which they were sent."""
    place, bodies = Place.made(folder), list[bytes]()
    model = scripted(MODEL, tool_parser="hermes", text=DONE, turn=agent.turn_in(place.workspace))
    app, served = prepared(folder / "data", model, build=ScriptedEngine)
    with running(_listening(app, bodies)) as url:
        ended = run(agent, place, url, served.key)
    assert ended.status == 0, ended.said
    homely = {str(place.workspace): WORKSPACE, str(place.home): "/home/user", url: "http://fjord"}
    return [_cut(json.loads(_renamed(body.decode(), homely))) for body in bodies]


def _listening(app: Any, bodies: list[bytes]) -> Any:
    """`app`, which now tells the bodies that it receives."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        pieces: list[bytes] = []

        async def received() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                pieces.append(message.get("body", b""))
                if not message.get("more_body"):
                    bodies.append(b"".join(pieces))
            return message

        await app(scope, received, send)

    return asgi


def _renamed(text: str, names: dict[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return _UUID.sub("00000000-0000-7000-8000-000000000000", text)


def _cut(value: Any, longest: int = LONGEST_TEXT) -> Any:
    match value:
        case dict():
            return {key: _cut(each, _longest(key)) for key, each in value.items()}
        case list():
            return [_cut(each, longest) for each in value]
        case str() if len(value) > longest:
            return value[:longest] + "…"
    return value


def _longest(key: str) -> int:
    """Arguments and what tools said stay whole."""
    if key in ("arguments", "output"):
        return 10_000
    return LONGEST_DESCRIPTION if key == "description" else LONGEST_TEXT


def _lines(bodies: list[Any]) -> Iterator[str]:
    for body in bodies:
        yield json.dumps(body, ensure_ascii=False)


if __name__ == "__main__":
    for each in EVERY:
        with tempfile.TemporaryDirectory() as made:
            lines = _lines(recorded(each, Path(made)))
            (AGENTS / "bodies" / f"{each.name}.jsonl").write_text("\n".join(lines) + "\n")
