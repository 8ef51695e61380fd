"""How large an engine's weights are on disk."""

from pathlib import Path

_FORMS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")


def weights_bytes(path: Path, projector: str | None = None) -> int:
    """Of a model's folder or of one file (of a GGUF in parts: of all of them), with that of a
    `projector` beside it."""
    if path.is_file():
        stem, is_part, _ = path.name.partition("-00001-of-")
        parts = [*path.parent.glob(f"{stem}-*-of-*.gguf")] if is_part else [path]
        parts += [path.with_name(projector)] if projector else []
        return sum(part.stat().st_size for part in parts)
    return sum(file.stat().st_size for form in _FORMS for file in path.glob(form))
