"""How a model is asked for tool calls, and what reads them."""

from collections.abc import Collection, Iterator

from engines.answers.model_tools import ASKED
from engines.answers.tool_parsers import found_parser, found_parsers, template_text
from engines.answers.tool_templates import has_own_template
from engines.checking.findings import Finding, note, ok
from engines.checking.model_files import ModelFiles
from engines.registry.spec import NO_TOOLS

_WORDS = "calls are asked for in Fjord's words and read in the hermes form"
_FORCED = "a required or named call is held to its form"


def tool_findings(
    files: ModelFiles, named: str | None, readable: Collection[str] | None
) -> Iterator[Finding]:
    """`named`: the registry's tool_parser; `readable`: the parsers that the engine has; None:
    all."""
    native = _native(files)
    if named == NO_TOOLS:
        yield ok("tools.parser", "none, as the registry says: tools have no effect")
    elif named is not None:
        yield _by_name(files, named, native, readable)
    elif files.template is None and native is None:
        yield note("tools.parser", "no chat template: no tools")
    elif native is None:
        yield note("tools.parser", f"the template shows no known form: {_WORDS}; {_FORCED}")
    elif readable is not None and native not in readable:
        what = f"the template's form is {native}, which this engine does not read"
        yield note("tools.parser", f"{what}: {_WORDS}; {_FORCED}")
    else:
        yield ok("tools.parser", f"{native}, found in the template")


def _native(files: ModelFiles) -> str | None:
    """A vocabulary that cannot be read is taken to have the marks."""
    vocabulary = files.vocabulary
    return found_parser(
        template_text(files.template),
        lambda text: files.template is not None if vocabulary is None else vocabulary.has(text),
    )


def _by_name(
    files: ModelFiles, named: str, native: str | None, readable: Collection[str] | None
) -> Finding:
    said = f"{named}, as the registry says"
    if readable is not None and named not in readable:
        what = f"{said}; this engine reads {', '.join(readable)}"
        return note("tools.parser", f"{what} alone: only forced calls work")
    if native is not None and native != named:
        return note("tools.parser", f"{said}; the marks in the template are those of {native}")
    if native == named:
        return ok("tools.parser", f"{said} and the template shows")
    if has_own_template(named):
        return ok("tools.parser", f"{said}; with Fjord's template, for the model's shows no tools")
    if named == ASKED:
        return ok("tools.parser", f"{said}; the template shows no form: {_WORDS}")
    if named not in found_parsers():
        return ok("tools.parser", f"{said}; its marks are not known here")
    return note("tools.parser", f"{said}; the template does not show its marks")
