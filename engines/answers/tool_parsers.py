"""The parser of a model's tool calls, found from its chat template and its vocabulary."""

import re
from collections.abc import Callable, Mapping

HasToken = Callable[[str], bool]
"""Whether a text is one of the vocabulary's tokens."""

_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kimi_k2", ("<|tool_calls_section_begin|>",)),
    ("deepseek_v3", ("<｜tool▁calls▁begin｜>", "```json")),
    ("deepseek_v31", ("<｜tool▁calls▁begin｜>",)),
    ("glm47", ("<tool_call>{function-name}<arg_key>",)),
    ("glm45", ("<tool_call>", "<arg_key>")),
    ("qwen3_coder", ("<tool_call>", "<function=")),
    ("hermes", ("<tool_call>",)),
    ("mistral", ("[TOOL_CALLS]",)),
    ("minimax_m2", ("<minimax:tool_call>",)),
    ("seed_oss", ("<seed:tool_call>",)),
    ("functiongemma", ("<start_function_call>",)),
    ("lfm2", ("<|tool_call_start|>",)),
    ("internlm", ("<|action_start|>",)),
    ("granite", ("<|tool_call|>", "<|start_of_role|>")),
    ("llama3_json", ("Environment: ipython", '"parameters": ')),
)
"""vLLM's parser name -> what a template that speaks its form writes; the first that fits."""
_SPECIAL = re.compile(r"<[|｜].*[|｜]>|\[TOOL_CALLS\]")
"""A mark that must be one token: without it in the vocabulary vLLM's parser does not start."""
_MISTRAL = "[TOOL_CALLS]"
"""mistral-common's tokenizers have this token, and no template."""


def found_parsers() -> frozenset[str]:
    """All that can be found."""
    return frozenset(name for name, _ in _MARKS)


def found_parser(template: str | None, has_token: HasToken) -> str | None:
    """None: the template shows no form of calls that a parser is known for."""
    if template is None:
        return "mistral" if has_token(_MISTRAL) else None
    return next((name for name, marks in _MARKS if _fit(marks, template, has_token)), None)


def template_text(published: object) -> str | None:
    """A tokenizer's chat template as one text; some have several, by name."""
    if isinstance(published, Mapping):
        return "\n".join(str(each) for each in published.values())
    return published if isinstance(published, str) else None


def _fit(marks: tuple[str, ...], template: str, has_token: HasToken) -> bool:
    return all(mark in template for mark in marks) and all(
        has_token(mark) for mark in marks if _SPECIAL.fullmatch(mark)
    )
