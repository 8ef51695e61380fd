"""A registry that is changed again and again, one kind of change a time."""

import json
import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

KINDS = ("price", "limits", "name", "arguments", "replicas", "added", "removed")
GUEST, NAME = "guest", "uno"
"""The model and the other name that come and go."""
_MOST_REPLICAS = 3


class AppliedRegistry:
    """Models: `plain` (its price, limits and other name change), `many` (replicas), `guest` (comes
    and goes), and those whose engine's arguments change: an alias -> its model and the values that
    one argument takes in turn."""

    def __init__(
        self, restarted: Mapping[str, tuple[dict[str, Any], str, tuple[Any, Any]]]
    ) -> None:
        self._restarted = {alias: each[1:] for alias, each in restarted.items()}
        self.models: dict[str, dict[str, Any]] = {
            "plain": scripted("one", price=_price(1)),
            "many": scripted("two"),
            GUEST: scripted("three"),
            **{alias: deepcopy(each[0]) for alias, each in restarted.items()},
        }
        self.output_price = 1

    @property
    def text(self) -> str:
        """JSON, which is YAML."""
        return json.dumps({"models": self.models, "profiles": {"embedded": {}}}, indent=1)

    @property
    def names(self) -> set[str]:
        """What may be asked for."""
        return {*self.models, *self.models["plain"].get("also_known_as", ())}

    def change(self, drawn: random.Random) -> str:
        """One change of a kind drawn from those that are possible; the kind."""
        kind = drawn.choice([each for each in KINDS if each != self._impossible])
        getattr(self, f"_{kind}")(drawn)
        return kind

    @property
    def _impossible(self) -> str:
        return "added" if GUEST in self.models else "removed"

    def _price(self, drawn: random.Random) -> None:
        self.output_price += 1
        self.models["plain"]["price"] = _price(self.output_price)

    def _limits(self, drawn: random.Random) -> None:
        plain = self.models["plain"]
        plain["output"] = "2K" if plain["output"] == "1K" else "1K"

    def _name(self, drawn: random.Random) -> None:
        plain = self.models["plain"]
        if plain.pop("also_known_as", None) is None:
            plain["also_known_as"] = [NAME]

    def _arguments(self, drawn: random.Random) -> None:
        alias = drawn.choice(list(self._restarted))
        name, (one, other) = self._restarted[alias]
        args = self.models[alias]["args"]
        args[name] = other if args[name] == one else one

    def _replicas(self, drawn: random.Random) -> None:
        many = self.models["many"]
        now = many.get("replicas", 1)
        many["replicas"] = drawn.choice([n for n in range(1, _MOST_REPLICAS + 1) if n != now])

    def _added(self, drawn: random.Random) -> None:
        self.models[GUEST] = scripted("three")

    def _removed(self, drawn: random.Random) -> None:
        del self.models[GUEST]


def scripted(source: str, **more: Any) -> dict[str, Any]:
    """A model on a scripted engine, 4 ms a token."""
    args = {"text": "the boats come home " * 20, "token_delay_s": 0.004, "load_s": 0.2}
    limits = {"context": "4K", "output": "1K"}
    return {"source": source, "engine": "scripted", "args": args, **limits, **more}


def _price(output: int) -> dict[str, str]:
    return {"input": "1.00", "output": f"{output}.00"}
