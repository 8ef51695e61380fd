"""`fjord run`: a chat in the terminal, or one answer in a pipe."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from rich.console import Console

from server.cli.chat.client import ChatClient, ChatFailed, ModelPrice, Piece
from server.cli.chat.interrupts import Interrupts
from server.cli.chat.terminal_text import for_terminal
from server.cli.link import Link

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings

OK, FAILED, INTERRUPTED = 0, 1, 130
HELP = """\
/model [alias]   show the models, or talk to another one
/system [text]   show, or set, the system prompt; /system - takes it away
/clear           forget this conversation
/help            this
/exit            leave (so does Ctrl-D)
Enter sends; Alt-Enter (or Ctrl-J) begins a new line; Ctrl-C stops an answer."""


Input: TypeAlias = Callable[[str], str]
"""Prompt -> the next words; raises EOFError and KeyboardInterrupt as `input` does."""


@dataclass(slots=True)
class Conversation:
    """What goes to the model."""

    model: str
    system: str | None = None
    turns: list[dict[str, str]] = field(default_factory=list)

    def messages(self) -> list[dict[str, str]]:
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, *self.turns]

    def add(self, role: str, content: str) -> None:
        self.turns.append({"role": role, "content": content})


def run_chat(
    server: Link | str,
    api_key: str | None = None,
    model: str | None = None,
    question: str | None = None,
    *,
    system: str | None = None,
    history_file: Path | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    read: Input | None = None,
) -> int:
    """Chat until the end; returns the exit status. With a `question`, or without a terminal on
    `stdin` (all of it is then one question, or goes after `question`), only the answer is printed.
    `read` replaces the terminal's line editor."""
    source, sink = stdin or sys.stdin, stdout or sys.stdout
    with contextlib.closing(ChatClient(server, api_key)) as client:
        try:
            conversation = Conversation(_chosen(client, model), system)
            if read is None and (question or not source.isatty()):
                return _answer_once(client, conversation, _question(question, source), sink)
            chat = Chat(client, conversation, Console(file=sink, highlight=False))
            return chat.run(read or _editor(history_file))
        except ChatFailed as failure:
            print(f"fjord: {failure}", file=sys.stderr)  # noqa: T201 - a command's last word
            return FAILED
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            return OK


class Chat:
    """The conversation at a terminal."""

    def __init__(
        self,
        client: ChatClient,
        conversation: Conversation,
        console: Console,
    ) -> None:
        self._client = client
        self._said = conversation
        self._console = console
        self._prices: dict[str, ModelPrice | None] = {}

    def run(self, read: Input) -> int:
        self._dim(f"{self._said.model} · /help for commands")
        while True:
            try:
                line = read("> ").strip()
            except EOFError:
                return OK
            except KeyboardInterrupt:
                return INTERRUPTED
            if line in ("/exit", "/quit"):
                return OK
            if line.startswith("/"):
                self._command(*line[1:].split(maxsplit=1))
            elif line:
                self._ask(line)

    def _ask(self, text: str) -> None:
        """A failed question is forgotten; a stopped answer is kept as far as it came."""
        self._said.add("user", text)
        answer, interrupts = ShownAnswer(), Interrupts()
        try:
            with (
                interrupts.heard(),
                contextlib.closing(answer.read(self._client, self._said)) as pieces,
            ):
                self._show(interrupts.between(pieces))
        except KeyboardInterrupt:
            self._console.print()
            self._dim("stopped")
        except ChatFailed as failure:
            self._console.print(f"\n{failure}", style="red", markup=False)
        if answer.text:
            self._said.add("assistant", answer.text)
            self._dim(answer.summary(self._price()))
        else:
            self._said.turns.pop()

    def _price(self) -> ModelPrice | None:
        """Asked of the server once a model."""
        model = self._said.model
        if model not in self._prices:
            try:
                self._prices[model] = self._client.price(model)
            except ChatFailed:  # it went away after its answer: the next question says so
                return None
        return self._prices[model]

    def _show(self, pieces: Iterator[Piece]) -> None:
        was_reasoning = False
        for piece in pieces:
            if piece.reasoning:
                self._write(piece.reasoning, "dim")
                was_reasoning = True
            if piece.content:
                self._write("\n\n" if was_reasoning else "")
                was_reasoning = False
                self._write(piece.content)
        self._console.print()

    def _write(self, text: str, style: str | None = None) -> None:
        shown = for_terminal(text)
        self._console.print(shown, end="", style=style, markup=False, soft_wrap=True)

    def _dim(self, text: str) -> None:
        self._console.print(text, style="dim", markup=False)

    def _command(self, name: str = "", argument: str = "") -> None:
        commands: dict[str, Callable[[str], None]] = {
            "model": self._model,
            "system": self._system,
            "clear": self._clear,
            "help": lambda _: self._dim(HELP),
        }
        if name in commands:
            commands[name](argument)
        else:
            self._dim(f"/{name} is no command; /help shows them")

    def _model(self, alias: str) -> None:
        try:
            known = self._client.models()
        except ChatFailed as failure:
            self._console.print(str(failure), style="red", markup=False)
            return
        if alias in known:
            self._said.model = alias
            self._dim(f"now {alias}")
            return
        if alias:
            self._dim(f"there is no model {alias!r}; there are:")
        for one in known:
            self._dim(f"{'*' if one == self._said.model else ' '} {one}")

    def _system(self, text: str) -> None:
        if text:
            self._said.system = None if text == "-" else text
        self._dim(f"system: {self._said.system or 'none'}")

    def _clear(self, _: str) -> None:
        self._said.turns.clear()
        self._dim("forgotten")


class ShownAnswer:
    """One answer while it comes: its text, its tokens and its speed."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._prompt_tokens = self._completion_tokens = self._cached_tokens = 0
        self._first_s = self._last_s = 0.0

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def read(self, client: ChatClient, said: Conversation) -> Generator[Piece, None, None]:
        with contextlib.closing(client.answer(said.model, said.messages())) as pieces:
            for piece in pieces:
                self._note(piece)
                yield piece

    def _note(self, piece: Piece) -> None:
        if piece.content or piece.reasoning:
            self._last_s = time.monotonic()
            self._first_s = self._first_s or self._last_s
        self._texts.append(piece.content)
        self._prompt_tokens = piece.prompt_tokens or self._prompt_tokens
        self._completion_tokens = piece.completion_tokens or self._completion_tokens
        self._cached_tokens = piece.cached_tokens or self._cached_tokens

    def summary(self, price: ModelPrice | None) -> str:
        """Tokens, tokens/s after the first, cost; a stopped answer knows no counts."""
        if not self._completion_tokens:
            return "stopped before its end: the server counts and bills what was generated"
        parts = [f"{self._prompt_tokens} + {self._completion_tokens} tokens"]
        if (seconds := self._last_s - self._first_s) > 0 and self._completion_tokens > 1:
            parts.append(f"{(self._completion_tokens - 1) / seconds:.0f} tok/s")
        if price is not None:
            counts = (self._prompt_tokens, self._cached_tokens, self._completion_tokens)
            parts.append(price.cost(*counts))
        return " · ".join(parts)


def _question(words: str | None, source: TextIO) -> str:
    """What was asked on the command line, then what comes through the pipe."""
    piped = "" if source.isatty() else source.read().strip()
    if not (words or piped):
        raise ChatFailed("Nothing came through the pipe; there is no question to answer.")
    return "\n\n".join(filter(None, (words, piped)))


def _answer_once(client: ChatClient, said: Conversation, question: str, sink: TextIO) -> int:
    said.add("user", question)
    for piece in client.answer(said.model, said.messages()):
        sink.write(for_terminal(piece.content) if sink.isatty() else piece.content)
        sink.flush()
    sink.write("\n")
    return OK


def _chosen(client: ChatClient, model: str | None) -> str:
    known = client.models()
    if not known:
        raise ChatFailed("The server has no model for this key.")
    if model is not None and model not in known:
        raise ChatFailed(f"There is no model {model!r}; there are {', '.join(known)}.")
    return model or known[0]


def _editor(history_file: Path | None) -> Input:
    """prompt_toolkit's line editor: history, several lines, paste."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    history = FileHistory(str(history_file)) if history_file else InMemoryHistory()
    session: PromptSession[str] = PromptSession(
        history=history,
        multiline=True,
        key_bindings=_keys(),
        prompt_continuation="  ",
        reserve_space_for_menu=0,
    )
    return lambda prompt: session.prompt(prompt)


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
