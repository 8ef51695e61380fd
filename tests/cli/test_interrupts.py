"""A Ctrl-C that Python loses stops an answer all the same."""

import os
import signal
import threading

import pytest

from server.cli.chat.interrupts import Interrupts


class Finalized:
    """Python only prints what its finalizer raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs between two of these
            pass


def heard_until_lost(interrupts: Interrupts, heard: list[int]) -> None:
    for piece in interrupts.between(iter([1, 2, 3, 4])):
        heard.append(piece)
        if piece == 2:
            lost = Finalized()
            del lost


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_within_a_finalizer_is_heard_at_the_next_piece() -> None:
    interrupts, heard = Interrupts(), list[int]()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        heard_until_lost(interrupts, heard)
    assert heard == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_anywhere_else_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts().heard():
        signal.raise_signal(signal.SIGINT)


def test_another_thread_changes_no_handler() -> None:
    handlers = []

    def run() -> None:
        with Interrupts().heard():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
