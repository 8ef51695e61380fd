"""`python -m engines.probing.handshake_child PART`: one member's part in a handshake."""

import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from engines.host.child_job import ChildJobFailed, Progress, child_job
from engines.probing.handshake import Handshake


def shaken(args: Sequence[str], progress: Progress) -> str:
    """The seconds that it took."""
    part = msgspec.json.decode(args[0], type=Handshake)
    progress("importing torch", None, None)
    import torch
    from torch import distributed

    progress(f"the handshake of {part.backend}", None, None)
    began = time.monotonic()
    try:
        distributed.init_process_group(
            part.backend,
            init_method=f"tcp://{_in_url(part.address)}:{part.port}",
            rank=part.rank,
            world_size=part.size,
            timeout=timedelta(seconds=part.timeout_s),
        )
        device = "cuda:0" if part.backend == "nccl" else "cpu"
        total = torch.full((1024,), part.rank + 1.0, device=device)
        distributed.all_reduce(total)
        found, wanted = float(total[-1]), part.size * (part.size + 1) / 2
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:  # torch has no class for what a network does
        raise ChildJobFailed(_one_line(error)) from None
    if found != wanted:
        raise ChildJobFailed(f"the sum of all ranks is {found}, not {wanted}")
    return f"{time.monotonic() - began:.3f}"


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:180] if lines else type(error).__name__


if __name__ == "__main__":
    child_job(shaken)
