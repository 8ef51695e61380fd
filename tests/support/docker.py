"""A Docker engine of one's own, where no registry of images is reached: Debian's packages, a base
image by debootstrap, a daemon with its own socket and folders, ended by its process id."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.serving import wait_until

PACKAGES = ("docker.io", "docker-compose", "debootstrap", "iptables")
PROGRAMS = ("dockerd", "docker-compose", "debootstrap", "iptables-save")
DOCKER = "/usr/bin/docker"
"""Debian's: another one may lack the builder."""
BASE = "fjord-test-base"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
INSTALL_S, BASE_S, BUILD_S, RUN_S, END_S = 300, 600, 900, 120, 60


def needs_engine() -> None:
    """Skips where there can be none; installs what is missing where apt may."""
    if os.geteuid() != 0:
        pytest.skip("a Docker engine of one's own needs root")
    if shutil.which("apt-get") is None:
        pytest.skip("this is no Debian to get a Docker engine and a base image from")
    running = [p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == "dockerd"]
    if running:
        pytest.skip(f"a Docker engine runs here (process {running[0]}): two would share its rules")
    if any(shutil.which(name) is None for name in PROGRAMS) or not Path(DOCKER).exists():
        _install()


def _install() -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        try:
            done = subprocess.run(
                ["apt-get", "-qq", *words], env=quiet, capture_output=True, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"apt-get {words[0]} took over {INSTALL_S} s")
    if done.returncode != 0:
        pytest.skip(f"apt has no Docker engine: {done.stderr.decode().strip()[-200:]}")


@dataclass(frozen=True)
class Engine:
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    """For compose.yaml."""

    def run(
        self, words: Sequence[str | Path], within_s: float = RUN_S, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        host = {"DOCKER_HOST": f"unix://{self.folder}/socket", "DOCKER_BUILDKIT": "1"}
        return subprocess.run(
            words,
            env={**os.environ, **host, **self.variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within_s,
        )

    def __call__(self, *words: str | Path, within_s: float = RUN_S) -> str:
        done = self.run([DOCKER, *words], within_s)
        assert done.returncode == 0, f"docker {words}: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def build(self, name: str, recipe: str, context: Path, *options: str) -> None:
        """With the machine's network: a container's own reaches no index."""
        words = [DOCKER, "build", "--network=host", "--build-arg", f"BASE={BASE}", *options]
        done = self.run([*words, "-t", name, "-f", "-", str(context)], BUILD_S, stdin=recipe)
        assert done.returncode == 0, done.stderr[-3000:]

    def inspected(self, container: str, form: str) -> str:
        return self("inspect", "--format", form, container)


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Its daemon runs; at the end nothing of it is left, on the disk, in the kernel's tables or as
    a process."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, timeout=RUN_S)
    forward = FORWARD.read_text()
    links = set(psutil.net_if_addrs())
    daemon = _daemon(folder)
    try:
        found = Engine(folder)
        _wait(found, daemon)
        _import_base(found)
        yield found
    finally:
        _end(daemon)
        for link in set(psutil.net_if_addrs()) - links:
            subprocess.run(["ip", "link", "delete", link], capture_output=True, timeout=RUN_S)
        subprocess.run(["iptables-restore"], input=rules.stdout, text=True, timeout=RUN_S)
        FORWARD.write_text(forward)
        _remove(folder)


def _daemon(folder: Path) -> "subprocess.Popen[bytes]":
    places = [f"--{name}={folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["dockerd", "--bridge=none", f"--host=unix://{folder}/socket", *places],
            stdout=log,
            stderr=log,
        )


def _wait(found: Engine, daemon: "subprocess.Popen[bytes]") -> None:
    """A machine that lets nobody mount or make networks is no place for this."""
    end = time.monotonic() + RUN_S
    while found.run([DOCKER, "version"]).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > end:
            said = (found.folder / "log").read_text().strip().splitlines() or [""]
            pytest.skip(f"dockerd does not start here: {said[-1][-300:]}")
        time.sleep(0.2)


def _import_base(found: Engine) -> None:
    """Debian with Python, from where the machine's own packages come. Skips where it cannot."""
    root = found.folder / "root"
    form = ["--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    listed = subprocess.run(["apt-get", "indextargets", *form], capture_output=True, text=True)
    mirrors = [line.split() for line in listed.stdout.splitlines()]
    [(uri, release), *_] = [each for each in mirrors if "-" not in each[-1]] or [["", ""]]
    include = "--include=python3,python3-venv,ca-certificates"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", include, release, str(root), uri],
        capture_output=True,
        text=True,
        timeout=BASE_S,
    )
    if done.returncode != 0:
        pytest.skip(f"debootstrap makes no base image here: {done.stdout.strip()[-300:]}")
    (root / "usr/bin/python").symlink_to("python3")
    shutil.copy(CERTIFICATES, root / str(CERTIFICATES).removeprefix("/"))
    settings = ["--change", f"ENV PIP_CERT={CERTIFICATES} PIP_DEFAULT_TIMEOUT=120"]
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        done = subprocess.run(
            [DOCKER, "-H", f"unix://{found.folder}/socket", "import", *settings, "-", BASE],
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            timeout=BASE_S,
        )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root)


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    """It ends its containerd; what it does not is killed."""
    own = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
    daemon.terminate()
    try:
        daemon.wait(END_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    _, alive = psutil.wait_procs(own, timeout=END_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def mounts(folder: Path) -> list[str]:
    """Within it, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [
        place for line in reversed(lines) if (place := line.split()[1]).startswith(f"{folder}/")
    ]


def _remove(folder: Path) -> None:
    for place in mounts(folder):
        subprocess.run(["umount", "--lazy", place], timeout=RUN_S)
    wait_until(lambda: not mounts(folder), "nothing is mounted")
    shutil.rmtree(folder)


def processes_of(folder: Path) -> list[str]:
    """Whose command names it."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(" ".join(words)[:200])
    return found
