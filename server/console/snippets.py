"""A request as lines to paste: curl, Python, JavaScript. Whatever is in it stays data."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

KEY: Final = "FJORD_API_KEY"
"""The environment variable that the lines read the key from."""

_SHORT: Final = 72
_PYTHON: Final = {
    "/chat/completions": "chat.completions.create",
    "/embeddings": "embeddings.create",
    "/completions": "completions.create",
}


class Snippet(NamedTuple):
    name: str
    text: str


def snippets(api: str, path: str, body: Mapping[str, Any]) -> list[Snippet]:
    """`api`: the address with /v1; `path`: behind it."""
    return [
        Snippet("curl", _curl(api, path, body)),
        Snippet("Python", _python(api, path, body)),
        Snippet("JavaScript", _javascript(api, path, body)),
    ]


def recording(api: str, alias: str) -> list[Snippet]:
    """Of a model of speech, which takes a file."""
    url, form = shlex.quote(f"{api}/audio/transcriptions"), shlex.quote(f"model={alias}")
    curl = f'curl {url} \\\n  -H "Authorization: Bearer ${KEY}" \\\n  -F {form} -F file=@speech.wav'
    python = (
        f"{_client(api)}\nwith open('speech.wav', 'rb') as file:\n"
        f"    answer = client.audio.transcriptions.create(model={alias!r}, file=file)\n"
        "print(answer.text)"
    )
    javascript = (
        'import { readFile } from "node:fs/promises";\n\n'
        "const form = new FormData();\n"
        f"form.append('model', {json.dumps(alias)});\n"
        "form.append('file', new Blob([await readFile('speech.wav')]), 'speech.wav');\n"
        f"const answer = await fetch({json.dumps(f'{api}/audio/transcriptions')}, {{\n"
        f"  method: 'POST',\n  headers: {{ Authorization: `Bearer ${{process.env.{KEY}}}` }},\n"
        "  body: form,\n});\nconsole.log(await answer.json());"
    )
    return [Snippet("curl", curl), Snippet("Python", python), Snippet("JavaScript", javascript)]


def _curl(api: str, path: str, body: Mapping[str, Any]) -> str:
    told = json.dumps(body, indent=2, ensure_ascii=False)
    return (
        f"curl {shlex.quote(api + path)} \\\n"
        f'  -H "Authorization: Bearer ${KEY}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(told)}"
    )


def _client(api: str) -> str:
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url={api!r}, api_key=os.environ["{KEY}"])'
    )


def _python(api: str, path: str, body: Mapping[str, Any]) -> str:
    method = _PYTHON.get(path)
    if method is None:
        return (
            "import os\n\nimport httpx\n\nanswer = httpx.post(\n"
            f"    {api + path!r},\n"
            f'    headers={{"Authorization": f"Bearer {{os.environ[\'{KEY}\']}}"}},\n'
            f"    json={_literal(body, 4)},\n)\nprint(answer.json())"
        )
    given = dict(body)
    extra = {name: given.pop(name) for name in list(given) if not name.isidentifier()}
    lines = [f"    {name}={_literal(value, 4)}," for name, value in given.items()]
    lines += [f"    extra_body={_literal(extra, 4)},"] if extra else []
    call = "\n".join([f"answer = client.{method}(", *lines, ")"])
    return f"{_client(api)}\n{call}\n{_printed(path, bool(body.get('stream')))}"


def _printed(path: str, is_stream: bool) -> str:
    if path != "/chat/completions":
        return "print(answer)"
    if not is_stream:
        return "print(answer.choices[0].message.content)"
    return (
        "for chunk in answer:\n    if chunk.choices:\n"
        '        print(chunk.choices[0].delta.content or "", end="", flush=True)'
    )


def _literal(value: Any, indent: int) -> str:
    """As Python has it: what is short on one line."""
    if not isinstance(value, dict | list) or len(told := repr(value)) <= _SHORT:
        return repr(value)
    pad = "\n" + " " * (indent + 4)
    if isinstance(value, dict):
        parts = [f"{name!r}: {_literal(part, indent + 4)}" for name, part in value.items()]
    else:
        parts = [_literal(part, indent + 4) for part in value]
    inside = "".join(f"{pad}{part}," for part in parts)
    return f"{told[0]}{inside}{pad[:-4]}{told[-1]}"


def _javascript(api: str, path: str, body: Mapping[str, Any]) -> str:
    whole = {**body, "stream": False} if body.get("stream") else dict(body)
    whole.pop("stream_options", None)
    told = json.dumps(whole, indent=2, ensure_ascii=False).replace("\n", "\n  ")
    return (
        f"const answer = await fetch({json.dumps(api + path)}, {{\n"
        "  method: 'POST',\n  headers: {\n"
        f"    Authorization: `Bearer ${{process.env.{KEY}}}`,\n"
        "    'Content-Type': 'application/json',\n  },\n"
        f"  body: JSON.stringify({told}),\n}});\n"
        "console.log(await answer.json());"
    )
