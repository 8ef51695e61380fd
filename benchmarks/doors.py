"""One engine behind several doors, in a process of its own: what the doors cost, and no more."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import uvicorn

from benchmarks.servers import ROOT
from server.http.connection import Connection
from server.http.request_log import RequestLog


@asynccontextmanager
async def door(app: RequestLog, lifespan: Any) -> Any:
    """Serves `app` on a free port; yields the port."""
    config = uvicorn.Config(
        cast(Any, app),
        port=0,
        http=Connection,
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not serving.done(), "the server ended before it started"
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


@contextmanager
def serving_doors(
    name: str, data: Path, model: Path, engine_args: dict[str, Any]
) -> Iterator[tuple[int, dict[str, Any], Path]]:
    """`python -m benchmarks.NAME --serve`, until the block ends: its process, the line in which it
    says its `ports` by door, and its log."""
    with tempfile.TemporaryDirectory(dir=data, ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--serve", folder]
        command += ["--model", str(model), "--engine-args", json.dumps(engine_args)]
        log = data / f"{name}.log"
        with (
            log.open("w") as out,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                cwd=ROOT,
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            line = next((s for s in process.stdout if s.startswith('{"ports"')), None)
            if line is None:
                raise SystemExit(f"The server did not start; see {log}.")
            yield process.pid, json.loads(line), log
            process.stdin.close()
