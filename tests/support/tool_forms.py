"""Two calls as each model writes them that a tool parser is known for."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

CALLS: Sequence[Any] = ({"city": "Oslo", "days": 3}, {"city": "Ber gen 🎉 {x} ` y", "days": 4})
SAYS = "I look.\n"
MARKS = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]"),
    *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>"),
    *("<|tool_call_end|>", "<|tool_call_argument_begin|>", "<｜tool▁calls▁begin｜>"),
    *("<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
    *("<minimax:tool_call>", "</minimax:tool_call>", "<seed:tool_call>", "</seed:tool_call>"),
    *("<start_function_call>", "<end_function_call>", "<escape>", "<|tool_call_start|>"),
    *("<|action_start|>", "<|action_end|>", "<|plugin|>", "<|tool_call|>"),
)
"""Single tokens in the tokenizers of the models that use them."""
Form: TypeAlias = Callable[[Sequence[Any]], str]


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def hermes(calls: Sequence[Any]) -> str:
    said = (written({"name": "weather", "arguments": call}) for call in calls)
    return SAYS + "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in said)


def qwen3_coder(calls: Sequence[Any], mark: str = "tool_call") -> str:
    def call(arguments: Any) -> str:
        given = (f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in arguments.items())
        return f"<{mark}>\n<function=weather>\n{''.join(given)}</function>\n</{mark}>"

    return SAYS + "\n".join(call(arguments) for arguments in calls)


def seed_oss(calls: Sequence[Any]) -> str:
    return qwen3_coder(calls, "seed:tool_call")


def llama3_json(calls: Sequence[Any]) -> str:
    return "; ".join(written({"name": "weather", "parameters": call}) for call in calls)


def kimi_k2(calls: Sequence[Any]) -> str:
    said = (
        f"<|tool_call_begin|>functions.weather:{i}<|tool_call_argument_begin|>"
        f"{written(arguments)}<|tool_call_end|>"
        for i, arguments in enumerate(calls)
    )
    return f"{SAYS}<|tool_calls_section_begin|>{''.join(said)}<|tool_calls_section_end|>"


def deepseek_v3(calls: Sequence[Any]) -> str:
    said = (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
        f"```json\n{written(arguments)}\n```<｜tool▁call▁end｜>"
        for arguments in calls
    )
    return f"{SAYS}<｜tool▁calls▁begin｜>{chr(10).join(said)}<｜tool▁calls▁end｜>"


def deepseek_v31(calls: Sequence[Any]) -> str:
    said = (
        f"<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{written(arguments)}<｜tool▁call▁end｜>"
        for arguments in calls
    )
    return f"{SAYS}<｜tool▁calls▁begin｜>{''.join(said)}<｜tool▁calls▁end｜>"


def glm45(calls: Sequence[Any], break_: str = "\n") -> str:
    def call(arguments: Any) -> str:
        given = (
            f"<arg_key>{key}</arg_key>{break_}<arg_value>{value}</arg_value>{break_}"
            for key, value in arguments.items()
        )
        return f"<tool_call>weather{break_}{''.join(given)}</tool_call>"

    return SAYS + break_.join(call(arguments) for arguments in calls)


def glm47(calls: Sequence[Any]) -> str:
    return glm45(calls, "")


def mistral(calls: Sequence[Any]) -> str:
    named = [{"name": "weather", "arguments": arguments} for arguments in calls]
    return f"[TOOL_CALLS]{written(named)}"


def minimax_m2(calls: Sequence[Any]) -> str:
    def call(arguments: Any) -> str:
        given = (f'<parameter name="{k}">{v}</parameter>\n' for k, v in arguments.items())
        return f'<invoke name="weather">\n{"".join(given)}</invoke>\n'

    return f"{SAYS}<minimax:tool_call>\n{''.join(map(call, calls))}</minimax:tool_call>"


def functiongemma(calls: Sequence[Any]) -> str:
    def call(arguments: Any) -> str:
        given = ",".join(f"{k}:<escape>{v}<escape>" for k, v in arguments.items())
        return f"<start_function_call>call:weather{{{given}}}<end_function_call>"

    return SAYS + "".join(map(call, calls))


def lfm2(calls: Sequence[Any]) -> str:
    given = (", ".join(f"{k}={v!r}" for k, v in arguments.items()) for arguments in calls)
    said = ", ".join(f"weather({arguments})" for arguments in given)
    return f"{SAYS}<|tool_call_start|>[{said}]<|tool_call_end|>"


def internlm(calls: Sequence[Any]) -> str:
    call = written({"name": "weather", "parameters": calls[0]})
    return f"{SAYS}<|action_start|><|plugin|>{call}<|action_end|>"


def granite(calls: Sequence[Any]) -> str:
    named = [{"name": "weather", "arguments": arguments} for arguments in calls]
    return f"<|tool_call|>{written(named)}"


_ALL = (
    *(hermes, qwen3_coder, seed_oss, llama3_json, kimi_k2, deepseek_v3, deepseek_v31, glm45),
    *(glm47, mistral, minimax_m2, functiongemma, lfm2, internlm, granite),
)
FORMS: Mapping[str, Form] = {form.__name__: form for form in _ALL}
"""By the parser's name."""
WORDLESS = {"llama3_json", "mistral", "granite"}
"""Their models say nothing before a call."""
SINGLE = {"internlm"}
"""Its model makes one call an answer."""
