"""What is laid over a model's weights."""

import msgspec


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA that is laid over a model's weights."""

    name: str
    """Another one for other files: engines and their caches tell adapters apart by it."""
    path: str
    """Its folder, in PEFT's form."""
