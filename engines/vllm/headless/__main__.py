"""The process of a part: vLLM's headless half of an engine. It is told what to do in a line of JSON
on its standard input, and ends, with all its children, when that is closed."""

import json
import os
import signal
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec

from engines.errors import EngineUnavailable
from engines.host.woken import woken_with_parents_end
from engines.registry.spec import EngineSpec
from engines.vllm.arguments import engine_arguments, on_cpu
from engines.vllm.environment import set_environment, without_compiler, without_hub
from engines.vllm.headless.part import WHY
from engines.vllm.start_failure import failure_log, why_it_failed


def main() -> None:
    woken_with_parents_end()
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_node, daemon=True).start()
    warnings.simplefilter("ignore")
    spec = msgspec.convert(told["spec"], EngineSpec)
    try:
        _run(spec, told["path"], told["arguments"])
    except EngineUnavailable as error:
        _fail(str(error))


def _end_with_the_node() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _run(spec: EngineSpec, path: str, more: Mapping[str, Any]) -> None:
    """Until its workers end. Raises EngineUnavailable."""
    set_environment()
    with failure_log() as log_file, without_hub(path):
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.entrypoints.cli.serve import run_headless

            known = {field.name for field in fields(AsyncEngineArgs)}
            arguments = {**engine_arguments(spec, path, known), **more}
            if isinstance(forms := arguments.get("structured_outputs_config"), dict):
                from vllm.config import StructuredOutputsConfig

                arguments["structured_outputs_config"] = StructuredOutputsConfig(**forms)
            with without_compiler(bool(arguments.get("enforce_eager")) and on_cpu()):
                run_headless(Namespace(api_server_count=0, reasoning_parser_plugin="", **arguments))
        except EngineUnavailable:
            raise
        except Exception as error:
            raise EngineUnavailable(why_it_failed(error, log_file, path)) from error


def _fail(words: str) -> None:
    sys.exit(f"{WHY}{' '.join(words.split())}")


if __name__ == "__main__":
    main()
