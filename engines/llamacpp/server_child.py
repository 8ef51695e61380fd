"""llama.cpp in a process of its own: what engines/llamacpp/server_process.py starts. It reads one
line of JSON, answers with one once the model is loaded, and ends with its parent."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engines.host.warm_child import end_with_parent
from engines.llamacpp.args import add_adapters, common_params, listen_to


def main() -> None:
    # Slurm's scancel and systemd's usual units tell it as well: answers run on until the front,
    # which drains, is through.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print where they like
    try:
        server = loaded(json.loads(sys.stdin.readline()))
    except Exception as error:
        told: dict[str, Any] = {"failed": str(error)}
    else:
        told = {"address": server.listening_address, "has_card": _has_card()}
    print(json.dumps(told), file=pipe, flush=True)
    if "address" in told:
        sys.stdin.read()
    os._exit(0)


def loaded(asked: dict[str, Any]) -> Any:
    """xllamacpp's Server, whose loop runs."""
    import xllamacpp

    path, folder = Path(asked["path"]), asked["folder"] and Path(asked["folder"])
    projector = asked["projector"] and Path(asked["projector"])
    params = common_params(
        xllamacpp,
        path,
        asked["args"],
        asked["trained_tokens"],
        asked["task"],
        projector or None,
    )
    if "fit_params" not in asked["args"]:
        params.fit_params = _has_card()
    add_adapters(xllamacpp, params, asked.get("adapters", ()))
    listen_to(params, folder, asked["key"])
    server = xllamacpp.Server(params)
    server.handle_metrics()
    return server


def _has_card() -> bool:
    """Without one llama.cpp would plan for cards that are not there: half of a load."""
    import xllamacpp

    return any("GPU" in str(device["type"]) for device in xllamacpp.get_device_info())


if __name__ == "__main__":
    main()
