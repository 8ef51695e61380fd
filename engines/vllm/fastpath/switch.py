"""Whether an engine takes the fast path at all."""

import os
from collections.abc import Mapping
from typing import Any

from engines.base import EngineUnavailable

ARGUMENT = "fastpath"
"""The engine argument: `fastpath: false` turns it off for one engine."""
VARIABLE = "FJORD_FASTPATH"
"""... and 0 in the environment for all."""


def is_fast_path_on(args: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> bool:
    """`args` are an EngineSpec's. Raises EngineUnavailable for a value that is neither."""
    argument = args.get(ARGUMENT, True)
    if not isinstance(argument, bool):
        raise EngineUnavailable(f"{ARGUMENT} is {argument!r}; right would be true or false.")
    return argument and environment.get(VARIABLE, "").lower() not in ("0", "false", "no", "off")
