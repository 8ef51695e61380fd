"""Python's garbage collection beside streams of tokens."""

import gc

from engines.host.quiet_import import is_under_way

_YOUNG = 10_000
"""New objects between two looks at the young ones: a request makes some thousand, nearly all of
them gone before."""


def freeze_garbage() -> None:
    """What is loaded by now stays: collections that walk it (100 ms and more with an engine's
    library) would show as gaps between tokens. Called at the start and after every load."""
    if is_under_way():
        return  # what there is by its end is frozen then
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)
