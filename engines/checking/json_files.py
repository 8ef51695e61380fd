"""The JSON files of a model's folder: each an object, or a finding that says what is wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.checking.findings import Finding, bounded, fail

MOST_BYTES = 256 * 2**20


class JsonFiles:
    """Reads files of one folder by name, and keeps what was wrong with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damage: list[Finding] = []

    def read(self, name: str, id: str) -> Mapping[str, Any] | None:
        """None: it is not there, or is damaged, which is found under `id`."""
        path = self._folder / name
        if not path.is_file():
            return None
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it has more than {MOST_BYTES // 2**20} MiB")
            values = json.loads(path.read_bytes())
            if not isinstance(values, dict):
                raise ValueError("it is no object")
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self.damage.append(fail(id, f"{name} cannot be read: {bounded(why)}"))
            return None
        return values
