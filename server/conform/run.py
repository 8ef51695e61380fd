"""Runs checks on a server: some at once, those that compare requests one after another."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import httpx

from server.conform.check import Check, Result
from server.conform.target import Target
from server.conform.unmet import Skipped, Unmet

AT_ONCE = 4
MOST_FAILURES = 100
Report: TypeAlias = Callable[[Result], None]


def run_checks(
    checks: Sequence[Check], target: Target, *, thorough: bool = False, report: Report | None = None
) -> list[Result]:
    """One result a check, in the checks' order; `report` hears of each as it comes."""
    target.warm_up()
    chosen = [c for c in checks if thorough or not c.is_slow]
    done: dict[str, Result] = {}

    def look(check: Check) -> None:
        result = done[check.id] = run_check(check, target)
        if report is not None:
            report(result)

    # First: the many requests that follow would still be leaving the rate limit's window.
    for check in chosen:
        if check.is_alone:
            look(check)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(look, [c for c in chosen if not c.is_alone]))
    return [done[c.id] for c in chosen]


def run_check(check: Check, target: Target) -> Result:
    """What this check finds. Never raises: what breaks a check is an answer nobody expects."""
    began = time.monotonic()
    try:
        check.run(target)
    except Unmet as e:
        return _unmet(check, e.expected, e.seen, began, is_fault=e.is_fault)
    except Skipped as e:
        return Result(check=check, verdict="skipped", seen=str(e), duration_s=_since(began))
    except httpx.HTTPError as e:
        return _unmet(check, "an answer", f"{type(e).__name__}: {e}", began, is_fault=True)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as e:
        seen = f"an answer without it: {type(e).__name__}: {e}"
        return _unmet(check, "the documented members", seen, began, is_fault=False)
    return Result(check=check, verdict="pass", duration_s=_since(began))


def counts(results: Sequence[Result]) -> Counter[str]:
    """Verdict -> how many."""
    return Counter(r.verdict for r in results)


def exit_status(results: Sequence[Result], *, strict: bool = False) -> int:
    """Failures, at most 100; with `strict` what differs counts too."""
    counted = counts(results)
    failures = counted["fail"] + (counted["differs"] if strict else 0)
    return min(failures, MOST_FAILURES)


def _unmet(check: Check, expected: str, seen: str, began: float, *, is_fault: bool) -> Result:
    is_failure = is_fault or check.source == "documented"
    return Result(
        check=check,
        verdict="fail" if is_failure else "differs",
        expected=expected,
        seen=seen,
        duration_s=_since(began),
    )


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
