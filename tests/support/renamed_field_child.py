"""`fjord serve` on a uvicorn that has another name for one field of its own: the first argument."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

FLOW = "uvicorn.protocols.http.flow_control"
HTTP = "uvicorn.protocols.http.httptools_impl"
CYCLE = "class RequestResponseCycle"


def rename(name: str) -> None:
    """uvicorn's modules, run with the field's new name wherever they use it."""
    run_changed(FLOW, lambda source: re.sub(rf"\bself\.{name}\b", f"self.new_{name}", source))
    run_changed(HTTP, lambda source: renamed_in_http(source, name))


def renamed_in_http(source: str, name: str) -> str:
    if name == "write_paused":
        return re.sub(r"\bflow\.write_paused\b", "flow.new_write_paused", source)
    protocol, cycle = source.split(CYCLE, 1)
    protocol = re.sub(rf"\bcycle\.{name}\b", f"cycle.new_{name}", protocol)
    return protocol + CYCLE + re.sub(rf"\bself\.{name}\b", f"self.new_{name}", cycle)


def run_changed(module_name: str, change: Callable[[str], str]) -> None:
    spec = importlib.util.find_spec(module_name)
    assert spec is not None
    assert spec.origin is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    exec(compile(change(Path(spec.origin).read_text()), spec.origin, "exec"), vars(module))


if __name__ == "__main__":
    field = sys.argv.pop(1)
    if field != "none":
        rename(field)
    from server.cli.main import main

    main()
