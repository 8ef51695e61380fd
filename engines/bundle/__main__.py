"""`python3 -m engines.bundle install FILE…`: what `make serve BUNDLE=FILE` runs first, on a machine
that has Python and nothing else."""

import argparse
import sys
from pathlib import Path

from engines.bundle.errors import BundleError
from engines.bundle.install import install
from engines.bundle.parts import all_parts
from engines.bundle.seal import public_key


class _Lines:
    """A line that moves at a terminal; elsewhere one at every tenth."""

    def __init__(self) -> None:
        self._said = -1

    def progress(self, what: str, done: int | None, total: int | None) -> None:
        percent = 100 * (done or 0) // (total or 1)
        if sys.stderr.isatty() and percent != self._said:
            sys.stderr.write(f"\r\x1b[K{what}: {percent} % of {(total or 0) / 1e6:,.0f} MB")
            sys.stderr.flush()
            self._said = percent
        elif not sys.stderr.isatty() and percent // 10 != self._said:
            sys.stderr.write(f"{what}: {percent} % of {(total or 0) / 1e6:,.0f} MB\n")
            self._said = percent // 10

    def end(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m engines.bundle", allow_abbrev=False)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--key", type=Path)
    asked = parser.parse_args(arguments)
    lines = _Lines()
    try:
        key = None if asked.key is None else public_key(asked.key)
        done = install(
            all_parts(asked.files),
            asked.data_dir,
            key,
            lines.progress,
            is_enough_if_installed=True,
        )
    except BundleError as error:
        lines.end()
        sys.stderr.write(f"fjord: {error}.\n")
        return 2
    lines.end()
    state = "installed" if done.is_new else "in use already"
    sys.stderr.write(f"bundle {done.folder.name}: {state}; {done.found.seal.in_words()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
