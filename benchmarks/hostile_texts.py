"""Costly bodies by what is in them: wrong values, long texts, many of something, packed, slow."""

import base64
import gzip
import json
from collections.abc import Mapping

import zstandard

from benchmarks.hostile_body import (
    ALIAS,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    HI,
    KEYS,
    LIMIT,
    RESPONSES,
    TOKENIZE,
    Builder,
    Hostile,
    chat,
    content,
    leaving,
    list_of,
    many,
    members,
    posted,
)


def packed(hostile: Hostile, encoding: str) -> Hostile:
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    return Hostile(
        path=hostile.path, body=pack(hostile.body), headers={"Content-Encoding": encoding}
    )


def bomb() -> bytes:
    """gzip members of zeros, one behind the other: 8 GB in 8 MiB."""
    member = gzip.compress(bytes(2**26))
    return member * (LIMIT // len(member))


SAID = '[{"role":"user","content":%s}]'
LONG = '"' + "a" * (LIMIT - 512) + '"'

BODIES: Mapping[str, Builder] = {
    # What is wrong in every place
    "content list of 0, half a MiB": lambda: content(list_of("0", 2**19)),
    "content list of 0, 8 MiB": lambda: content(list_of("0")),
    "lists within lists, 200 KB": lambda: content("[" * 100_000 + "]" * 100_000),
    "lists of lists, 255 KB": lambda: chat({"x": list_of("[]", 255 * 1024)}),
    "empty lists, 64 Ki of them": lambda: chat({"x": list_of("[]", 3 * 65_000)}),
    "nested objects, 120 deep, many": lambda: chat(
        {"x": list_of('{"a":' * 120 + "1" + "}" * 120, 340_000)}
    ),
    "wide object, 60,000 members": lambda: chat({"metadata": members('"k%d":"v"', 30_000)}),
    "unknown fields, 30,000": lambda: chat({f"unknown_{number}": "1" for number in range(30_000)}),
    "unknown fields, 8,000, short body": lambda: chat(
        {f"unknown_{number}": "1" for number in range(8_000)}
    ),
    "numbers, half a million": lambda: chat({"x": list_of("0", 2 * 520_000)}),
    "long numbers, 8 MiB": lambda: chat({"x": list_of("1234567.12345678")}),
    "one number of 8 MiB": lambda: chat({"temperature": "1" * (LIMIT - 512)}),
    "NaN at the end of 8 MiB": lambda: chat(
        {
            "messages": json.dumps([{"role": "user", "content": "a" * (LIMIT - 4096)}]),
            "temperature": "NaN",
        }
    ),
    "escapes, 8 MiB": lambda: content('"' + "\\u00e6" * ((LIMIT - 512) // 6) + '"'),
    "escaped quotes, 8 MiB": lambda: content('"' + '\\"' * ((LIMIT - 512) // 2) + '"'),
    "backslashes, 8 MiB": lambda: content('"' + "\\\\" * ((LIMIT - 512) // 2) + '"'),
    "lone surrogate after 8 MiB": lambda: content('"' + "a" * (LIMIT - 512) + '\\ud800"'),
    "not JSON, 8 MiB": lambda: Hostile(path=CHAT, body=b"{" + b'"a":1,' * (LIMIT // 6)),
    "not UTF-8, 8 MiB": lambda: Hostile(path=CHAT, body=b'{"a":"' + b"\xff" * LIMIT),
    # Plain text
    "plain text, 8 MiB": lambda: content(json.dumps("word " * ((LIMIT - 512) // 5))),
    "one word, 8 MiB": lambda: content(json.dumps("a" * (LIMIT - 512))),
    "letters of four bytes, 8 MiB": lambda: content(
        json.dumps("𝄞" * ((LIMIT - 512) // 4), ensure_ascii=False)
    ),
    "plain text, 500 KB": lambda: content(json.dumps("word " * 100_000)),
    "special tokens alone, 480 KB": lambda: content(json.dumps("<|im_end|>" * 48_000)),
    "special tokens alone, 8 MiB": lambda: content(json.dumps("<|im_end|>" * (LIMIT // 11))),
    "special tokens in a completion, 480 KB": lambda: posted(
        COMPLETIONS, {"model": ALIAS, "prompt": "<|im_end|>" * 48_000}
    ),
    "white space, 8 MiB": lambda: content(json.dumps(" " * (LIMIT - 512))),
    "8 MiB counted": lambda: posted(
        TOKENIZE, {"model": ALIAS, "prompt": "word " * ((LIMIT - 512) // 5)}
    ),
    "8 MiB as a response's input": lambda: posted(
        RESPONSES, {"model": ALIAS, "input": "word " * ((LIMIT - 512) // 5)}
    ),
    "8 MiB to be embedded": lambda: posted(
        EMBEDDINGS, {"model": ALIAS, "input": "word " * ((LIMIT - 512) // 5)}
    ),
    "text to be cut, 8 MiB": lambda: posted(
        COMPLETIONS,
        {
            "model": ALIAS,
            "prompt": "word " * ((LIMIT - 512) // 5),
            "max_tokens": 1,
            "truncate_prompt_tokens": -1,
        },
    ),
    "chat to be cut, 8 MiB": lambda: chat(
        {"messages": SAID % json.dumps("word " * ((LIMIT - 512) // 5))},
        truncate_prompt_tokens=-1,
    ),
    "chat to be cut, as long as may be": lambda: chat(
        {"messages": SAID % json.dumps("word " * 500_000)}, truncate_prompt_tokens=-1
    ),
    "an assistant's words, 8 MiB": lambda: chat(
        messages=[
            *HI,
            {"role": "assistant", "content": "word " * ((LIMIT - 4096) // 5)},
            *HI,
        ]
    ),
    "data URI of 6 MB": lambda: chat(
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {
                            "url": "data:image/png;base64,"
                            + base64.b64encode(bytes(6_000_000)).decode()
                        },
                    }
                ],
            }
        ]
    ),
    # Many of something
    "messages, 2,000": lambda: chat(messages=HI * 2_000),
    "messages, 16,000": lambda: chat(messages=HI * 16_000),
    "content parts, 16,000": lambda: chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * 16_000}]
    ),
    "input items, 16,000": lambda: posted(RESPONSES, {"model": ALIAS, "input": HI * 16_000}),
    "prompts, 2,000": lambda: posted(COMPLETIONS, {"model": ALIAS, "prompt": ["a"] * 2_000}),
    "prompts, 128": lambda: posted(
        COMPLETIONS, {"model": ALIAS, "prompt": ["a"] * 128, "max_tokens": 1}
    ),
    "token ids, half a million": lambda: posted(
        COMPLETIONS, {"model": ALIAS, "prompt": [7] * 500_000, "max_tokens": 1}
    ),
    "token ids, 100,000": lambda: posted(
        COMPLETIONS, {"model": ALIAS, "prompt": [7] * 100_000, "max_tokens": 1}
    ),
    "inputs to be embedded, 2,048": lambda: posted(
        EMBEDDINGS, {"model": ALIAS, "input": ["a"] * 2_048}
    ),
    "choices of one prompt, 16": lambda: chat(n=16),
    "stop strings, 10,000": lambda: chat(stop=["abcdef"] * 10_000),
    "stop strings, 16 of 100 KB": lambda: chat(
        stop=[f"{number}" * 100_000 for number in range(10, 26)]
    ),
    "logit_bias, 20,000 entries": lambda: chat({"logit_bias": members('"%d":1', 20_000)}),
    "logit_bias, 1,024 entries": lambda: chat({"logit_bias": members('"%d":1', 1_024)}),
    # One thing that is long
    "a role of 8 MiB": lambda: chat({"messages": f'[{{"role":{LONG},"content":"x"}}]'}),
    "a model's name of 8 MiB": lambda: chat({"model": LONG}),
    "a user's name of 8 MiB": lambda: chat({"user": LONG}),
    "an unknown field's name of 8 MiB": lambda: chat({LONG.strip('"'): "1"}),
    "an unknown number of 8 MiB": lambda: chat({"x": "1" * (LIMIT - 512)}),
    "a bias for a name of 8 MiB": lambda: chat({"logit_bias": f'{{{LONG}:"x"}}'}),
    "a tool's name of 8 MiB": lambda: chat(
        {"tools": f'[{{"type":"function","function":{{"name":{LONG}}}}}]'}
    ),
    "a regex of 8 MiB": lambda: chat({"structured_outputs": f'{{"regex":{LONG}}}'}),
    "a schema's key of 8 MiB": lambda: chat({"structured_outputs": f'{{"json":{{{LONG}:1}}}}'}),
    "a stop string of 8 MiB": lambda: chat({"stop": LONG}),
    "white space between, 8 MiB": lambda: chat({"x": "[" + " " * (LIMIT - 512) + "1]"}),
    # Just within the bounds of its members (server/api/body_members.py)
    "numbers, as many as may be": lambda: chat({"x": many("1234.56", 262_000)}),
    "long numbers, as many as may be": lambda: chat({"x": many("9" * 19, 104_000)}),
    "token ids, as many as may be": lambda: posted(
        COMPLETIONS, {"model": ALIAS}, {"prompt": many("12345", 262_000)}
    ),
    "token ids to be embedded, as many as may be": lambda: posted(
        EMBEDDINGS, {"model": ALIAS}, {"input": many(many("12345", 127), 2_048)}
    ),
    "objects, as many as may be": lambda: chat({"x": many('{"k":"v"}', 10_900)}),
    "messages, as many as may be": lambda: chat(messages=HI * 6_500),
    "escapes, as many as may be": lambda: content('"' + "\\u4e2d" * 524_000 + '"'),
    "escaped quotes, as many as may be": lambda: content('"' + '\\"' * 524_000 + '"'),
    # Packed
    "gzip bomb, 8 GB": lambda: Hostile(
        path=CHAT, body=bomb(), headers={"Content-Encoding": "gzip"}
    ),
    "gzip of 8 MiB of lists": lambda: packed(chat({"x": list_of("[]")}), "gzip"),
    "zstd of 8 MiB of text": lambda: packed(content(json.dumps("a" * (LIMIT - 512))), "zstd"),
    "zstd bomb, 64 MiB of zeros": lambda: Hostile(
        path=CHAT, body=zstandard.compress(bytes(2**26)), headers={"Content-Encoding": "zstd"}
    ),
    # Without a key, slowly, or gone
    "8 MiB of lists without a key": lambda: Hostile(
        path=CHAT, body=list_of("[]").encode(), has_key=False
    ),
    "admin: 8 MiB of lists without a key": lambda: Hostile(
        path=KEYS, body=list_of("[]").encode(), has_key=False
    ),
    "admin: 8 MiB of lists with another key": lambda: Hostile(
        path=KEYS, body=list_of("[]").encode()
    ),
    "one byte a second": lambda: Hostile(path=CHAT, body=b'{"model":"bench"}', bytes_per_s=1),
    "plain text of 8 MiB, its client leaves": lambda: leaving(
        content(json.dumps("word " * ((LIMIT - 512) // 5)))
    ),
    "special tokens alone, their client leaves": lambda: leaving(
        content(json.dumps("<|im_end|>" * 48_000))
    ),
}
