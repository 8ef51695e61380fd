"""A process that has imported vLLM, and forks where multiprocessing would start a python that
imports it anew: 6 s of a core for each engine of the tests.

What is forked has what a spawned one has: its files, environment, folder and signal mask; and it
is a child of the tests' process. multiprocessing's own fork server has itself as the parent and an
environment of its own, so that nothing finds its children.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import multiprocessing.util
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil

from engines.host import warm_child
from tests.support.paths import ROOT

MODULES = (
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.structured_output.backend_xgrammar",
    "vllm.model_executor.models.llama",
    "vllm.model_executor.models.qwen3",
    "engines.vllm.fastpath.scheduler",
    "engines.vllm.form_trial_child",
    "transformers.models.auto.tokenization_auto",
)
"""What an engine's process has imported when it is ready, as far as it takes time; the first, its
front too."""
FORM_TRIAL = "engines.vllm.form_trial_child"
MARK = "FJORD_TEST"
"""The variable by whose value a test finds what it started, in /proc, once nobody is its parent."""
_NO_MARK = "0" * 32
_OF_ONE_START = ("PYTEST_CURRENT_TEST", "FJORD_ENGINE", "VLLM_LOGGING_CONFIG_PATH", MARK)
"""Variables that no import reads, or that a child reads again."""
_MOST_BYTES, _MOST_FILES, _FAR = 2**20, 64, 1000
_PR_SET_CHILD_SUBREAPER = 36
_ENV_START = 47
"""In /proc/…/stat, counted from behind the process' name."""

_ONE_AT_A_TIME = threading.Lock()

Spawn = Callable[..., int]


class ForkServers:
    """One for each environment that engines start in: imports read it."""

    def __init__(self, spawn: Spawn, modules: Sequence[str] = MODULES, most: int = 2) -> None:
        self._spawn, self._modules, self._most = spawn, modules, most
        self._servers: dict[frozenset[tuple[str, str]], ForkServer] = {}

    def __call__(self, path: Any, arguments: Sequence[Any], files: Iterable[Any]) -> int:
        """In the place of multiprocessing.util.spawnv_passfds: the child's pid."""
        [*_, code, last] = map(os.fsdecode, arguments)
        if last == "--multiprocessing-fork" and self._modules[0] in sys.modules:
            server = self._server()
            if server is not None:
                kept = {int(file): int(file) for file in (0, 1, 2, *files)}
                return server.fork(code, ["--multiprocessing-fork"], kept, dict(os.environ))
        return self._spawn(path, arguments, files)

    def _server(self) -> "ForkServer | None":
        """None: there are enough already, in other environments."""
        environment = frozenset(_kept().items())
        if environment not in self._servers and len(self._servers) < self._most:
            self._servers[environment] = ForkServer(self._modules)
        return self._servers.get(environment)

    def running(self) -> "ForkServer | None":
        """One of them, for whom the environment is no matter."""
        return next(iter(self._servers.values()), None)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


def fork_engines() -> None:
    """From now on engines' processes are forked, and so are those that try their forms."""
    servers = ForkServers(multiprocessing.util.spawnv_passfds)

    def child(command: Sequence[str], **how: Any) -> Any:
        server = servers.running() if FORM_TRIAL in command else None
        if server is None:
            return subprocess.Popen(command, **how)
        return ForkedModule(server, command, how["env"])

    theirs = SimpleNamespace(Popen=child, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
    setattr(multiprocessing.util, "spawnv_passfds", servers)  # noqa: B010
    setattr(warm_child, "subprocess", theirs)  # noqa: B010


class ForkedModule:
    """A `python -m module arguments…`, with what WarmChild needs of its subprocess.Popen."""

    def __init__(
        self, server: "ForkServer", command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        _, _, module, *arguments = command
        code = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        read, write = os.pipe()
        heard, said = os.pipe()
        nowhere = os.open(os.devnull, os.O_RDWR)
        self.pid = server.fork(code, arguments, {0: read, 1: said, 2: nowhere}, environment)
        for file in (read, said, nowhere):
            os.close(file)
        self.stdin, self.stdout = os.fdopen(write, "wb"), os.fdopen(heard, "rb")
        self._process = psutil.Process(self.pid)

    def poll(self) -> int | None:
        try:
            return self._process.wait(0)
        except psutil.TimeoutExpired:
            return None

    def kill(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.kill()

    def wait(self) -> int | None:
        return self._process.wait()


class ForkServer:
    """It ends when this process does: nobody else holds the other end of its socket."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno()), *modules]
        kept = _kept() | {MARK: _NO_MARK, "SPT_NOENV": "1"}
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=kept, cwd=ROOT
            )

    def fork(
        self,
        code: str,
        arguments: Sequence[str],
        files: Mapping[int, int],
        environment: Mapping[str, str],
    ) -> int:
        """The pid of a child as of `python -c code arguments…`. `files`: of each of its numbers,
        ours."""
        asked = {
            "code": code,
            "arguments": ["-c", *arguments],
            "files": list(files),
            "environment": dict(environment),
            "folder": os.getcwd(),
            "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        }
        with _ONE_AT_A_TIME, foster_parent():
            socket.send_fds(self._socket, [json.dumps(asked).encode()], list(files.values()))
            answer = self._socket.recv(_MOST_BYTES)
        if not answer:
            raise RuntimeError("the tests' fork server has ended; its stderr says why")
        return int(answer)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OF_ONE_START}


@contextlib.contextmanager
def foster_parent() -> Iterator[None]:
    """What loses its parent inside the block becomes this process' child."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def serve(requests: socket.socket) -> NoReturn:
    """Fork for each request until the tests' process is gone."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, _MOST_BYTES, _MOST_FILES)
        if not message:
            sys.exit()
        asked = json.loads(message)
        pid = _grandchild()
        if pid == 0:
            requests.close()
            _become(asked, files)
            _run(asked["code"])
        for file in files:
            os.close(file)
        requests.send(str(pid).encode())


def _run(code: str) -> NoReturn:
    """What `python -c` does, but for its last step: to take apart all that vLLM imported costs 2 s
    of a core, whereupon the kernel frees it anyway."""
    status: Any = 0
    try:
        exec(code, {"__name__": "__main__"})
    except SystemExit as ended:
        status = ended.code
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError):  # it is closed
                stream.flush()
    os._exit(status if isinstance(status, int) else 1)


def _grandchild() -> int:
    """As os.fork, of a process that has lost its parent already."""
    told, tell = os.pipe()
    between = os.fork()
    pid = 0 if between else os.fork()
    if between == 0 and pid:
        os.write(tell, str(pid).encode())
        os._exit(0)
    if between:
        os.waitpid(between, 0)
        pid = int(os.read(told, 20))
    os.close(told)
    os.close(tell)
    return pid


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """The process that was asked for."""
    far = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _FAR) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(far, asked["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    _show_mark(asked["environment"].get(MARK, _NO_MARK))
    os.chdir(asked["folder"])
    sys.argv = asked["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, asked["blocked"])
    if "vllm" in sys.modules:
        from vllm import logger

        logger._configure_vllm_root_logger()


def _show_mark(value: str) -> None:
    """Others read a process' environment where it was as its program began."""
    if len(value) != len(_NO_MARK):
        raise ValueError(f"{MARK} is {value!r}; right would be {len(_NO_MARK)} characters")
    place = Path("/proc/self/environ").read_bytes().index(f"{MARK}={_NO_MARK}".encode())
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ENV_START])
    ctypes.memmove(start + place + len(MARK) + 1, value.encode(), len(value))


def main(file: int, modules: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the tests, in its own time
    warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
    for name in modules:
        importlib.import_module(name)
    with contextlib.suppress(ImportError):
        # It looks for the place of a process' name, and not behind another environment.
        importlib.import_module("setproctitle").getproctitle()
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"an import has started {threads - 1} threads, which a fork would lack")
    gc.collect()
    gc.freeze()  # else each child's collector writes to all that they share
    warnings.resetwarnings()
    with socket.socket(fileno=file) as requests:
        serve(requests)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
