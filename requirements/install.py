"""`python requirements/install.py …`: pip install, with one moving line for who watches a terminal;
quiet elsewhere. What pip complains of is shown as it is, and its exit status is this one's."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version

# --no-deps with a lock that has a hash for everything: nothing comes in that the lock lacks.
# --no-compile: Python compiles what is imported; compiling all of torch and vLLM takes longer.
PIP = [sys.executable, "-u", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
PIP += ["--no-deps", "--no-compile"]


def main(arguments: list[str]) -> int:
    if not sys.stdout.isatty():
        return subprocess.run([*PIP, "-qq", *arguments]).returncode
    has_raw = tuple(int(n) for n in version("pip").split(".")[:2]) >= (24, 1)
    bar = "raw" if has_raw else "off"
    command = [*PIP, "--progress-bar", bar, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        for words in steps(process.stdout):
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r\033[K{words[:width]}")
            sys.stdout.flush()
    sys.stdout.write("\r\033[K")
    return process.returncode


def steps(lines: Iterable[str]) -> Iterator[str]:
    """What pip is doing, a phrase at every change: `package 12: torch-2.13.0, 40%`."""
    count, name = 0, ""
    for line in lines:
        if found := re.match(r"\s*(?:Downloading|Using cached|Processing) (\S+)", line):
            count, name = count + 1, found[1].rsplit("/", 1)[-1].split("-cp")[0].split("-py")[0]
            yield f"    package {count}: {name}"
        elif found := re.match(r"\s*Progress (\d+) of (\d+)", line):
            share = int(found[1]) / max(1, int(found[2]))
            yield f"    package {count}: {name}, {share:.0%}"
        elif line.startswith("Installing collected packages"):
            yield f"    unpacking {count} packages ..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
