"""What a bundle has of Fjord: of a checkout all of it, of an installed package that alone."""

from pathlib import Path

from engines.bundle.contents import fjord_pieces
from tests.support.paths import ROOT


def test_of_a_checkout_it_has_all_that_make_serve_needs() -> None:
    paths = {piece.path for piece in fjord_pieces(ROOT)}
    needed = {"Makefile", "requirements/laptop.txt", "docs/bundle.md", "server/__main__.py"}
    assert {f"fjord/{name}" for name in needed} <= paths


def test_what_lies_beside_an_installed_package_is_not_fjords(tmp_path: Path) -> None:
    for name in ("server/app.py", "engines/base.py", "docs/other_package.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = {piece.path for piece in fjord_pieces(tmp_path)}
    assert paths == {"fjord/server/app.py", "fjord/engines/base.py"}
