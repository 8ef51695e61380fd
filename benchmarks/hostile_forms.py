"""Costly forms of an answer, tools and calls: little to read, much to compile."""

from collections.abc import Mapping
from typing import Any

from benchmarks.hostile_body import HI, LIMIT, Builder, Hostile, chat, leaving


def schema(schema: Any) -> Hostile:
    named = {"name": "x", "schema": schema}
    return chat(response_format={"type": "json_schema", "json_schema": named})


def outputs(**form: Any) -> Hostile:
    return chat(structured_outputs=form)


def _tool(number: int, schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"f{number}", "parameters": schema}}


def _object(properties: int, prefix: str = "p") -> dict[str, Any]:
    names = [f"{prefix}{number}" for number in range(properties)]
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
    }


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema, "b": schema["type"] and {}},
                  "required": ["a"]}  # fmt: skip
    return schema


def _references(count: int) -> dict[str, Any]:
    steps = {
        f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}}
        for n in range(count)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{count}": {"type": "string"}}}


def _doubling(levels: int) -> dict[str, Any]:
    """As a tree it has 2 to the power of `levels` leaves."""
    steps: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {
            "a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n + 1}"}}}
        for n in range(levels)
    }  # fmt: skip
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{levels}": {"type": "string"}}}


FORMS: Mapping[str, Builder] = {
    # Tools and calls
    "tools, 128 with 100 properties, required": lambda: chat(
        tools=[_tool(n, _object(100)) for n in range(128)], tool_choice="required"
    ),
    "tools, 128 with 7 properties, required": lambda: chat(
        tools=[_tool(n, _object(7)) for n in range(128)], tool_choice="required"
    ),
    "tools, 128 with 100 properties, auto": lambda: chat(
        tools=[_tool(n, _object(100)) for n in range(128)]
    ),
    "tools, 2,000": lambda: chat(tools=[_tool(n, {}) for n in range(2_000)]),
    "tool calls in the history, 2,000": lambda: chat(
        messages=[
            *HI,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": f"c{n}",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                    for n in range(2_000)
                ],
            },
        ]
    ),
    "a call's arguments nested 50,000 deep": lambda: chat(
        messages=[
            *HI,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {
                            "name": "f",
                            "arguments": '{"a":' * 50_000 + "1" + "}" * 50_000,
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ]
    ),
    "a call's arguments of 4 MB": lambda: chat(
        messages=[
            *HI,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "[" + "0," * 2_000_000 + "0]"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ]
    ),
    # Forms
    "schema: minItems of a million": lambda: schema(
        {"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000}
    ),
    "schema: minItems of 10,000 objects": lambda: schema(
        {"type": "array", "items": _object(20), "minItems": 10_000}
    ),
    "schema: maxItems of 10,000, nested": lambda: schema(
        {
            "type": "array",
            "maxItems": 10_000,
            "items": {
                "type": "array",
                "maxItems": 10_000,
                "items": {"type": "string", "maxLength": 10_000},
            },
        }
    ),
    "schema: 50,000 enum values": lambda: schema(
        {"enum": [f"value number {number}" for number in range(50_000)]}
    ),
    "schema: 1,000 enum values": lambda: schema(
        {"enum": [f"value number {number}" for number in range(1_000)]}
    ),
    "schema: 1,000 properties": lambda: schema(_object(1_000)),
    "schema: 300 optional properties": lambda: schema(
        {"type": "object", "properties": _object(300)["properties"]}
    ),
    "schema: nested 60 deep": lambda: schema(_nested(60)),
    "schema: nested 5,000 deep": lambda: chat(
        {
            "response_format": '{"type":"json_schema","json_schema":{"name":"x","schema":'
            + '{"items":' * 5_000
            + "{}"
            + "}" * 5_000
            + "}}"
        }
    ),
    "schema: $ref through 200 $defs": lambda: schema(_references(200)),
    "schema: $ref to itself, twice a level": lambda: schema(_doubling(24)),
    "schema: 200 strings of 10,000": lambda: schema(
        {
            "type": "object",
            "properties": {
                f"p{n}": {"type": "string", "minLength": 5_000 + n, "maxLength": 9_000 + n}
                for n in range(200)
            },
            "required": [f"p{n}" for n in range(200)],
        }
    ),
    "schema: 200 patterns": lambda: schema(
        {
            "type": "object",
            "properties": {
                f"p{n}": {"type": "string", "pattern": f"^(a|b{n}){{1,9}}[^x]*c$"}
                for n in range(200)
            },
        }
    ),
    "schema: 1 MB": lambda: schema(
        {"type": "object", "properties": {"a": {"description": "d" * 2**20}}}
    ),
    "schema: 8 MiB of lists in a string": lambda: outputs(json="[" * (LIMIT - 512)),
    "schema: anyOf of 500 objects": lambda: schema(
        {"anyOf": [_object(2, f"q{n}_") for n in range(500)]}
    ),
    "schema: allOf of 200 patterns": lambda: schema(
        {"allOf": [{"type": "string", "pattern": f"a{n}.*"} for n in range(200)]}
    ),
    "schema: multipleOf of many digits": lambda: schema(
        {"type": "number", "multipleOf": 1.000000007, "minimum": 0, "maximum": 1e15}
    ),
    "regex: repeats within repeats": lambda: outputs(regex="((a{1,100}){1,100}){1,100}"),
    "regex: 10,000 repeats": lambda: outputs(regex="(ab|c.){9,1600}"),
    "regex: determinised is 2^n": lambda: outputs(regex="(a|b)*a(a|b){800}"),
    "regex: 8 KB of choices": lambda: outputs(regex="|".join(f"w{n}.*x" for n in range(900))),
    "regex: unicode classes": lambda: outputs(regex=r"(\p{L}\p{N}\w\W){300}"),
    "choices, 50,000": lambda: outputs(choice=[f"choice {number}" for number in range(50_000)]),
    "choices, 1,000": lambda: outputs(choice=[f"choice {number}" for number in range(1_000)]),
    "grammar of 1 MB": lambda: outputs(
        grammar="root ::= " + " | ".join(f'"w{n}"' for n in range(100_000))
    ),
    "grammar of 60 KB": lambda: outputs(
        grammar="root ::= " + " | ".join(f'"word number {n}"' for n in range(2_800))
    ),
    "grammar: ambiguous": lambda: outputs(grammar='root ::= a\na ::= a a | "x" | a a a | ""\n'),
    "grammar: rules that refer, 2,000": lambda: outputs(
        grammar="root ::= r0\n"
        + "".join(f'r{n} ::= "a" r{n + 1} | r{n + 1} "b"\n' for n in range(2_000))
        + 'r2000 ::= "c"\n'
    ),
    "schema of 200 strings, its client leaves": lambda: leaving(
        FORMS["schema: 200 strings of 10,000"]()
    ),
}
