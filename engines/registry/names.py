"""The names a model is asked for by: its alias, and what the registry says it is also known as."""

from collections.abc import Iterable, Mapping

from engines.registry.spec import ModelSpec

ANY_REST = "*"
"""Ends a name that stands for all that begin like it."""
MOST_NAME = 128
"""The longest name, in characters."""


class ModelNames:
    """Finds the model of a name: the alias, else another name, else the longest beginning."""

    def __init__(self, models: Mapping[str, ModelSpec]) -> None:
        self._models = models
        self._others = {
            name: spec for spec in models.values() for name in exact_names(spec.also_known_as)
        }
        beginnings = [
            (name.removesuffix(ANY_REST), spec)
            for spec in models.values()
            for name in spec.also_known_as
            if name.endswith(ANY_REST)
        ]
        self._beginnings = sorted(beginnings, key=lambda each: -len(each[0]))

    def find(self, name: str) -> ModelSpec | None:
        """None: no model is called so. What is longer than MOST_NAME, nobody is: answers say
        the name again in each of their chunks."""
        found = self._models.get(name) or self._others.get(name)
        if found is None and len(name) <= MOST_NAME:
            likes = (spec for begin, spec in self._beginnings if name.startswith(begin))
            found = next(likes, None)
        return found


def exact_names(names: Iterable[str]) -> list[str]:
    """Those that stand for themselves alone."""
    return [name for name in names if not name.endswith(ANY_REST)]
