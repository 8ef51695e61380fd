"""What an entry's `images` and `projector` must be to each other."""

from engines.registry.entries import ModelEntry
from engines.registry.yaml import Location


def wrong_images(entry: ModelEntry) -> tuple[Location, str] | None:
    """The key, and what is wrong with it."""
    if entry.images and entry.task != "generate":
        return ("images",), "is for models that generate; right would be 0, or none"
    if entry.images and entry.engine == "llamacpp" and entry.projector is None:
        right = "right would be projector: with its name, or images: 0"
        return ("images",), f"needs a projector, a GGUF beside the model's, on llamacpp; {right}"
    if entry.projector is None:
        return None
    if "llamacpp" not in (entry.engine, *entry.also):
        return ("projector",), "is llama.cpp's; right would be engine: llamacpp, or none"
    if not entry.images:
        right = "right would be images: with the most of a request, or none"
        return ("projector",), f"reads pictures, and none are read here; {right}"
    return None
