"""Python's garbage collection beside streams of tokens."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG = 10_000
"""New objects between two looks at the young ones: a request makes some thousand, nearly all of
them gone before."""


def freeze_garbage() -> None:
    """What is loaded by now stays: collections that walk it (100 ms and more with an engine's
    library) would show as gaps between tokens. Called at the start and after every load."""
    if is_held_off():
        return  # what there is by its end is frozen then
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


def is_held_off() -> bool:
    """Whether something is being made to stay: a collection now would walk it half made."""
    return not gc.isenabled()


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Around what makes very many objects that are kept: no collection walks them, neither
    meanwhile nor later. What becomes garbage in circles just then stays too."""
    was_enabled = gc.isenabled()
    gc.collect()  # what is garbage by now would stay for ever
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
