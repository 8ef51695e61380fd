"""What owners that find nothing of each other cost in prefix hits: tokens found in vLLM's cache.

    python -m benchmarks.owners_prefixes --json FILE

Owners by turns, each with a chat of some turns behind the same system prompt, on the seeded tiny
model; once with a cache for all, once with a salt for each owner, once with the salt behind the
shared system prompt. Counts, no times: another machine finds the same.
"""

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.base import GenerateRequest, Sampling
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from engines.vllm.engine import VllmEngine

SYSTEM = "You are the assistant of a harbour, and you answer briefly and in good order. " * 24
WORDS = ("boat", "tide", "quay", "rope", "light", "storm", "harbour", "wind", "net", "anchor")


def said(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=60))


def turns(way: str, owners: int, chats: int, length: int) -> list[GenerateRequest]:
    """Requests in order: every owner's first, every owner's second, ..."""
    chance, requests = random.Random(1), []
    for chat in range(chats):
        histories: dict[int, list[dict[str, str]]] = {
            owner: [{"role": "system", "content": SYSTEM}] for owner in range(owners)
        }
        for turn in range(length):
            for owner, history in histories.items():
                history.append({"role": "user", "content": said(chance)})
                requests.append(
                    GenerateRequest(
                        request_id=f"{way}-{chat}-{turn}-{owner}",
                        sampling=Sampling(max_tokens=1, temperature=0.0),
                        messages=tuple(history),
                        cache_salt=None if way == "shared" else f"{way}-{owner}",
                        shared_prompts=(SYSTEM,) if way == "behind" else (),
                    )
                )
                history.append({"role": "assistant", "content": said(chance)})
    return requests


async def found(engine: VllmEngine, requests: list[GenerateRequest]) -> Mapping[str, int]:
    asked = cached = 0
    for request in requests:
        prompt = await engine.render(request)
        asked += prompt.token_count
        async for delta in engine.generate(request, prompt):
            cached += delta.cached_tokens
    return {"prompt_tokens": asked, "cached_tokens": cached}


async def measured(folder: Path, owners: int, chats: int, length: int) -> dict[str, Any]:
    make_llama(folder)
    figures: dict[str, Any] = {}
    for way in ("shared", "per_owner", "behind"):  # each on an engine that has read nothing
        args = {"max_model_len": 8192, "kv_cache_memory_bytes": 2**28, "block_size": 32}
        engine = VllmEngine(EngineSpec(kind="vllm", source=str(folder), args=args), str(folder))
        await engine.start()
        try:
            figures[way] = await found(engine, turns(way, owners, chats, length))
        finally:
            await engine.stop()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owners", type=int, default=20)
    parser.add_argument("--chats", type=int, default=3, help="of an owner, one after another")
    parser.add_argument("--turns", type=int, default=4, help="of a chat")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measured(Path(folder), options.owners, options.chats, options.turns))
    for way, counts in figures.items():
        share = counts["cached_tokens"] / counts["prompt_tokens"]
        print(f"{way:>10}: {share:6.1%} of {counts['prompt_tokens']} prompt tokens found")
    if options.json is not None:
        asked = {"owners": options.owners, "chats": options.chats, "turns": options.turns}
        options.json.write_text(json.dumps(asked | {"found": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
