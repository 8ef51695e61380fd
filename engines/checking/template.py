"""What a chat template makes of each form of chat."""

from collections.abc import Iterator

from engines.checking.chats import (
    PARTS,
    PLAIN,
    QUESTION,
    UNOPENED,
    UNSEEN,
    USER,
    WITH_TOOLS,
    TriedChat,
)
from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.checking.rendering import Rendered, TemplateTrial


def template_findings(trial: TemplateTrial) -> Iterator[Finding]:
    """A template that refuses plain chat fails; of tools it is a note."""
    if trial.broken is not None:
        yield fail("template", f"{trial.broken}: no chat can be answered")
        return
    errors = {each.error for id, each in trial.rendered.items() if id != PARTS.id}
    if len(errors) == 1 and (error := errors.pop()) is not None:
        yield fail("template", f"it refuses every chat: {error}")
        return
    for chat in (*PLAIN, *WITH_TOOLS):
        if chat not in UNSEEN and chat.id in trial.rendered:
            yield _finding(chat, trial.rendered[chat.id])
    yield from _parts(trial)
    yield from _opening(trial)


def _finding(chat: TriedChat, rendered: Rendered) -> Finding:
    id = f"template.{chat.id}"
    if rendered.error is not None:
        refused = f"{chat.name}: the template refuses it: {rendered.error}"
        if chat.has_system:
            return note(id, f"{refused}; chats without one work")
        return fail(id, refused) if chat.is_plain else note(id, refused)
    missing = [text for text in chat.shows if text not in rendered.text]
    if missing:
        left_out = f"{chat.name}: the template leaves out {missing[0]!r}"
        return fail(id, left_out) if QUESTION in missing and chat is USER else note(id, left_out)
    return ok(id, f"{chat.name}, put first" if rendered.is_moved else chat.name)


def _parts(trial: TemplateTrial) -> Iterator[Finding]:
    if trial.reads_parts_alone:
        yield ok(
            "template.parts", "content in parts, and no other: the engine makes one of each text"
        )
    elif QUESTION in (trial.text(PARTS) or ""):
        yield ok("template.parts", f"{PARTS.name}, as they are")
    else:
        yield ok("template.parts", f"{PARTS.name}, as one text: Fjord joins them")


def _opening(trial: TemplateTrial) -> Iterator[Finding]:
    """What stands before an answer."""
    opened, closed = trial.text(USER), trial.text(UNOPENED)
    if opened is None or closed is None:
        return
    if opened != closed:
        opening = opened.removeprefix(closed)
        yield ok("template.opening", f"an answer opens with {bounded(repr(opening[-60:]))}")
    elif closed.endswith(QUESTION):
        what = "nothing opens an answer: the model may go on with the user's message"
        yield note("template.opening", what)
    else:
        what = f"the user's turn ends with {bounded(repr(closed.rpartition(QUESTION)[2]))}"
        yield ok("template.opening", f"{what}, which opens the answer")
