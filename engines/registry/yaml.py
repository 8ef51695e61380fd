"""A YAML file as plain values, with the line of every key; a key written twice is an error."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Location: TypeAlias = tuple[str | int, ...]
"""Where a value stands: ("models", "mixtral-8x7b", "args", "max_model_len")."""


_MOST_BYTES = 2 * 2**20
_MOST_ENTRIES = 200_000
"""With what anchors repeat: a few lines of them come to billions."""


class YamlFileError(Exception):
    """The file cannot be read; `line` is None where no line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What stood in the file, and the line of every key and list item."""

    values: Any
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int:
        """The line of a location, or of its nearest parent that is in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: YAML itself would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Any, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            if isinstance(name, Hashable) and first.setdefault(name, line) != line:
                raise YamlFileError(f"key {name!r} stands here and on line {first[name]}", line)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> YamlFile:
    """Raises YamlFileError: not there, too large, not UTF-8, not YAML, a key twice."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise YamlFileError(f"is larger than {_MOST_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise YamlFileError(f"cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise YamlFileError("is not UTF-8 text") from e
    return parse_yaml(text)


def parse_yaml(text: str) -> YamlFile:
    """Raises YamlFileError: not YAML, a key twice."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlFile(None, {})
        lines: dict[Location, int] = {}
        _note_lines(node, (), lines, ())
        return YamlFile(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else None
        raise YamlFileError(f"is not YAML: {e.problem or e.context}", line) from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise YamlFileError(f"is not YAML: {e}") from e


def _note_lines(
    node: yaml.Node, at: Location, lines: dict[Location, int], parents: tuple[int, ...]
) -> None:
    if id(node) in parents:
        line = node.start_mark.line + 1
        raise YamlFileError("an anchor holds itself", line)
    if len(lines) > _MOST_ENTRIES:
        raise YamlFileError(f"has more than {_MOST_ENTRIES} entries, anchors' repeats counted")
    within = (*parents, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = (*at, getattr(key, "value", ""))
            lines[where] = key.start_mark.line + 1
            _note_lines(value, where, lines, within)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*at, i)] = item.start_mark.line + 1
            _note_lines(item, (*at, i), lines, within)
