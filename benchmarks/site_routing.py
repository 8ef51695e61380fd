"""Which node a front chooses, in virtual time: hits in nodes' prefix caches, balance, waiting.

Nodes are modelled: a prefix cache of blocks (the least recently used go), prompts read at one rate
and answers written at another. The choice is Fjord's own code, as is what it remembers; each front
knows what it sent itself, both of prompts and of load, and nothing of what others sent.
"""

import heapq
import random
import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from benchmarks.figures import percentile
from benchmarks.site_mix import Mix, MixedRequest
from engines.base import GenerateRequest, Sampling
from engines.fleet.prefixes import prefixes_of
from engines.fleet.routing import Prefixes, ReplicaLoad, WarmPrefixes, choose

BLOCK = 16
CACHE_TOKENS = 200_000
"""Of one node: 80 GB less the weights of a model of 70 B in FP8, more or less, over its cards."""
READ_S, WRITE_S = 1 / 8000, 1 / 40
"""A token of a prompt, and of an answer, on a busy node."""
SEATS = 64
LOAD = 0.7
"""Of what all nodes could do with no hit at all."""
Ends: TypeAlias = list[tuple[float, int, int]]
"""When, on which node, of which front."""
POLICIES = ("warm", "least", "random", "robin")


@dataclass(slots=True)
class ModelledNode:
    """A queue before SEATS, and a cache."""

    blocks: "OrderedDict[int, None]" = field(default_factory=OrderedDict)
    running: int = 0
    waiting: "deque[tuple[float, Arrived]]" = field(default_factory=deque)
    tokens: int = 0
    count: int = 0
    most: int = 0
    reads_until: float = 0.0

    @property
    def requests(self) -> int:
        return self.running + len(self.waiting)

    def found(self, blocks: Sequence[int]) -> int:
        """Tokens of a prompt's beginning that are here; now all of it is."""
        hits = 0
        for block in blocks:
            if block not in self.blocks:
                break
            hits += 1
        for block in blocks:
            self.blocks[block] = None
            self.blocks.move_to_end(block)
        while len(self.blocks) > CACHE_TOKENS // BLOCK:
            self.blocks.popitem(last=False)
        return hits * BLOCK


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request, hashed once for all runs."""

    prefixes: Prefixes
    blocks: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    front: int = 0


def arrivals(count: int, seed: int, scale: int) -> list[Arrived]:
    return [_arrived(each) for each in Mix(seed, scale).requests(count)]


def _arrived(asked: MixedRequest) -> Arrived:
    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=asked.output_tokens),
        messages=asked.messages,
    )
    words = " ".join(f"{m['role']} {m['content']}" for m in asked.messages).split()
    blocks, last = [], 0
    for at in range(0, len(words) - BLOCK + 1, BLOCK):
        last = hash((last, *words[at : at + BLOCK]))
        blocks.append(last)
    return Arrived(prefixes_of(request), tuple(blocks), len(words), asked.output_tokens)


class Fronts:
    """Some, by turns; each remembers its own choices."""

    def __init__(self, policy: str, nodes: int, fronts: int, seed: int) -> None:
        self._policy, self._chance = policy, random.Random(seed)
        self._warm = [WarmPrefixes() for _ in range(fronts)]
        self._loads = dict.fromkeys(range(nodes), 1)
        self._sent = [[0] * nodes for _ in range(fronts)]
        """By front and node, what has not ended."""
        self._chosen_at = [[0] * nodes for _ in range(fronts)]
        self._count = 0

    def choose(self, asked: Arrived) -> tuple[int, int]:
        """The front, and the node that it chooses."""
        self._count += 1
        front = self._count % len(self._warm)
        node = self._chosen(front, asked)
        self._sent[front][node] += 1
        self._chosen_at[front][node] = self._count
        return front, node

    def ended(self, front: int, node: int) -> None:
        self._sent[front][node] -= 1

    def _chosen(self, front: int, asked: Arrived) -> int:
        sent = self._sent[front]
        if self._policy == "random":
            return self._chance.randrange(len(sent))
        if self._policy == "robin":
            return self._count % len(sent)
        warm = self._warm[front]
        known = warm.warm(asked.prefixes, self._loads) if self._policy == "warm" else ()
        chosen = choose(
            [
                ReplicaLoad(replica=i, requests=count, chosen_at=self._chosen_at[front][i])
                for i, count in enumerate(sent)
            ],
            known,
        )
        assert chosen is not None
        warm.note(asked.prefixes, chosen, 1)
        return chosen


def routed(
    asked: Sequence[Arrived], policy: str, nodes: int, fronts: int = 1, seed: int = 1
) -> dict[str, Any]:
    """The figures of one run."""
    site = [ModelledNode() for _ in range(nodes)]
    front, chance = Fronts(policy, nodes, fronts, seed), random.Random(seed)
    ends: Ends = []
    gap_s = _gap_s(asked, nodes)
    now, found = 0.0, 0
    first_s: list[float] = []
    for each in asked:
        now += chance.expovariate(1 / gap_s)
        while ends and ends[0][0] <= now:
            at, number, by = heapq.heappop(ends)
            front.ended(by, number)
            _ended(site[number], at, number, ends, first_s)
        by, number = front.choose(each)
        node = site[number]
        node.count += 1
        node.tokens += each.prompt_tokens + each.output_tokens
        found += _came(node, now, replace(each, front=by), number, ends, first_s)
        node.most = max(node.most, node.requests)
    return {
        "policy": policy,
        "nodes": nodes,
        "fronts": fronts,
        "requests": len(asked),
        "hit_share": round(found / sum(each.prompt_tokens for each in asked), 4),
        "requests_most_over_mean": round(_over_mean([node.count for node in site]), 3),
        "tokens_most_over_mean": round(_over_mean([node.tokens for node in site]), 3),
        "most_at_once": max(node.most for node in site),
        "first_token_p50_ms": round(1000 * percentile(first_s, 50)),
        "first_token_p99_ms": round(1000 * percentile(first_s, 99)),
    }


def _gap_s(asked: Sequence[Arrived], nodes: int) -> float:
    """Between arrivals, so that seats and reading are used to LOAD."""
    read_s = statistics.fmean(each.prompt_tokens for each in asked) * READ_S
    write_s = statistics.fmean(each.output_tokens for each in asked) * WRITE_S
    return max(read_s, (read_s + write_s) / SEATS) / nodes / LOAD


def _came(
    node: ModelledNode,
    now: float,
    asked: Arrived,
    number: int,
    ends: Ends,
    first_s: list[float],
) -> int:
    """Tokens found. What waits is looked up now, too: who is before it will have read it."""
    found = min(node.found(asked.blocks), asked.prompt_tokens - 1)
    asked = replace(asked, prompt_tokens=asked.prompt_tokens - found)
    if node.running >= SEATS:
        node.waiting.append((now, asked))
    else:
        _begin(node, now, now, asked, number, ends, first_s)
    return found


def _begin(
    node: ModelledNode,
    now: float,
    came: float,
    asked: Arrived,
    number: int,
    ends: Ends,
    first_s: list[float],
) -> None:
    """A node reads one prompt after the other."""
    node.running += 1
    node.reads_until = max(node.reads_until, now) + asked.prompt_tokens * READ_S
    first_s.append(node.reads_until - came)
    heapq.heappush(ends, (node.reads_until + asked.output_tokens * WRITE_S, number, asked.front))


def _ended(
    node: ModelledNode,
    at: float,
    number: int,
    ends: Ends,
    first_s: list[float],
) -> None:
    node.running -= 1
    if node.waiting:
        came, asked = node.waiting.popleft()
        _begin(node, at, came, asked, number, ends, first_s)


def _over_mean(counts: Sequence[int]) -> float:
    return max(counts) / statistics.fmean(counts)


def all_policies(
    sizes: Sequence[int], count: int, seed: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Each policy at each size, of `count` requests a node; `warm` also with four fronts."""
    found = []
    for nodes in sizes:
        asked = arrivals(count * nodes, seed, nodes)
        for policy, fronts in [*((policy, 1) for policy in POLICIES), ("warm", 4)]:
            found.append(routed(asked, policy, nodes, fronts, seed))
            tell(f"  {found[-1]}")
    return found
