"""Whether a model's weights are whole: by their headers and sizes, none of it is loaded."""

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from engines.checking.findings import Finding, bounded, fail, note, ok, shown_size
from engines.gguf import BadGguf, GgufFile
from engines.tensor_headers import safetensors_header
from engines.weights.size import weights_bytes

INDEX = "model.safetensors.index.json"


def weights_findings(path: Path) -> Iterator[Finding]:
    """Of a folder, or of a GGUF file."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        yield _other_forms(path)
        return
    wrong = [*_missing(path)] if path.is_dir() else []
    wrong += [what for file in files if (what := _damage(file)) is not None]
    if wrong:
        yield fail("weights.whole", bounded("; ".join(wrong), 240))
        return
    count = f"{len(files)} files" if len(files) > 1 else "1 file"
    yield ok("weights.whole", f"{count}, {shown_size(weights_bytes(path))}")


def _other_forms(folder: Path) -> Finding:
    if any(any(folder.glob(form)) for form in ("*.bin", "*.pt")):
        what = f"no safetensors; {shown_size(weights_bytes(folder))} of pickled weights"
        return note("weights.whole", f"{what}, whose loading may run code")
    return fail("weights.whole", "no weights here (*.safetensors)")


def _missing(folder: Path) -> Iterator[str]:
    """Files that the index names."""
    index = folder / INDEX
    if not index.is_file():
        return
    try:
        names = set(map(str, json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield f"{INDEX} cannot be read"
        return
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        yield bounded(f"{len(missing)} of {len(names)} files are missing: {', '.join(missing)}")


def _gguf_damage(file: Path, size: int) -> str | None:
    stem, is_part, rest = file.name.partition("-00001-of-")
    parts = int(rest.partition(".")[0]) if is_part and rest[:5].isdigit() else 1
    here = sum((file.parent / _part(stem, i, parts)).is_file() for i in range(1, parts + 1))
    if is_part and here < parts:
        return f"{parts - here} of {parts} parts are missing"
    try:
        with contextlib.closing(GgufFile(file)) as opened:
            whole = opened.whole_bytes()
    except (BadGguf, struct.error, ValueError, OverflowError):
        return f"{file.name} is cut short: its header is not whole"
    return None if size >= whole else f"{file.name} is cut short: {size:,} of {whole:,} bytes"


def _part(stem: str, index: int, parts: int) -> str:
    return f"{stem}-{index:05}-of-{parts:05}.gguf"


def _damage(file: Path) -> str | None:
    try:
        size = file.stat().st_size
        if not size:
            return f"{file.name} is empty"
        if file.suffix != ".safetensors":
            return _gguf_damage(file, size)
        begin, header = safetensors_header(file)
        end = max((int(each["data_offsets"][1]) for each in header.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
        return f"{file.name} is no safetensors file, or cut short"
    except RecursionError:
        return f"{file.name} is no safetensors file"
    whole = begin + end
    return None if size >= whole else f"{file.name} is cut short: {size:,} of {whole:,} bytes"
