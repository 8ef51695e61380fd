"""Lets go of what vLLM's client holds in this process: its ZeroMQ sockets, and their context."""

from typing import Any


def close_sockets(client: Any) -> None:
    """`client` is an AsyncLLM's engine_core. Call it on the loop: the sockets are the loop's.

    vLLM closes the sockets by a callback at the end of a shutdown in another thread, and leaves
    the context to the garbage collector. A context that ends before they are closed waits for
    them for ever; and only the asynchronous one, a shadow of the other, knows them.
    """
    for socket in tuple(client.ctx._sockets):
        socket.close(linger=0)
    resources = client.resources
    for task in (resources.output_queue_task, resources.stats_update_task):
        if task is not None:
            task.cancel()
    resources.ctx.destroy(linger=0)
