"""The papers: links lead somewhere, commands and settings exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from server.cli.main import app
from server.settings import Settings
from tests.support.paths import ROOT

PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOT_SETTINGS = {"FJORD_", "FJORD_FASTPATH"}


def papers() -> Iterator[tuple[Path, str]]:
    for path in PAPERS:
        yield path, path.read_text()


def shell_lines() -> Iterator[str]:
    """Every line of the shell examples, and every `code` that begins with a command of ours."""
    for _, text in papers():
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            yield from block.replace("\\\n", " ").splitlines()
        yield from re.findall(r"`((?:make|fjord) [^`\n]+)`", text)


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, heading = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name} links to {target}"
        if heading:
            assert heading in headings(file), f"{path.name} links to {target}"


def headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them, and those that the text sets itself."""
    text = path.read_text()
    lines = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def test_make_targets_in_the_papers_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {m[1] for line in shell_lines() if (m := re.match(r"make ([a-z-]+)", line))}
    assert {"serve", "test"} <= named <= targets


def test_commands_and_flags_in_the_papers_exist() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("fjord", [], resilient_parsing=True)
    seen = set()
    for line in shell_lines():
        for call in re.findall(r"(?:^|[ /])fjord ((?:[a-z]\w*|--).*)$", line):
            if line.startswith("docker") and "exec" not in line and " prepare" not in line:
                continue
            words = call.split("|")[0].split("#")[0].split()
            words = ["", *words] if words[0].startswith("--") else words
            command = group.get_command(context, words[0]) if words[0] else group  # type: ignore[attr-defined]
            assert command is not None, f"{line!r}: fjord has no command {words[0]!r}"
            seen.add(words[0])
            if hasattr(command, "get_command") and len(words) > 1 and words[1].isalpha():
                command = command.get_command(context, words[1])
                assert command is not None, f"{line!r}: fjord {words[0]} has no {words[1]!r}"
            known = {option for each in command.params for option in each.opts} | {"--help"}
            used = {word.split("=")[0] for word in words[1:] if word.startswith("--")}
            assert used <= known, f"{line!r}: unknown {used - known}"
    assert {"serve", "keys", "models", "run"} <= seen


def test_environment_variables_in_the_papers_are_settings() -> None:
    settings = {f"FJORD_{name.upper()}" for name in Settings.model_fields}
    for path, text in papers():
        named = set(re.findall(r"\bFJORD_[A-Z_]*", text)) - NOT_SETTINGS
        assert named <= settings, f"{path.name}: {named - settings}"


def test_every_python_example_is_python() -> None:
    for path, text in papers():
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            compile(block, str(path), "exec")


def test_the_map_names_every_room_that_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    for room in ("server", "engines", "tests", "benchmarks", "requirements"):
        assert (ROOT / room).is_dir()
        assert f"| `{room}/` |" in readme


def test_every_document_is_listed_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in ROOT.glob("docs/*.md"):
        assert f"](docs/{path.name})" in readme, f"README.md does not list docs/{path.name}"


def test_every_command_is_listed_in_the_readme() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("fjord", [], resilient_parsing=True)
    shown = group.list_commands(context)  # type: ignore[attr-defined]
    readme = (ROOT / "README.md").read_text()
    for command in shown:
        assert f"| `fjord {command}` |" in readme


def test_make_help_lists_every_target_a_person_calls() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert f"make {target}" in shown
