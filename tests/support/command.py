"""`fjord …` in this process, with the environment of nobody."""

import os
import sys

import pytest

from server.cli.main import main


class Fjord:
    """`fjord …` in this process: its exit status and what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, patch
        for name in [name for name in os.environ if name.startswith("FJORD_")]:
            patch.delenv(name)
        patch.setenv("FJORD_PORT", "0")
        patch.setenv("FJORD_PROFILE", "embedded")

    def __call__(self, *args: str) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["fjord", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err
