"""Whether a model that is to read pictures has eyes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engines.checking.findings import Finding, fail, note, ok

_EYES = re.compile(r"vision|visual|image|img|vit_")
"""In the names of a config's members: vision_config, image_token_id, img_processor, …"""


def picture_findings(config: Mapping[str, Any], images: int, kind: str) -> Iterator[Finding]:
    """`images`: the registry's, `kind`: of its engine. Nothing where none are to be read."""
    if not images:
        return
    if kind == "llamacpp":
        yield note("pictures.read", "images has no effect: llama.cpp reads text here")
    elif any(_EYES.search(name) for name in config):
        yield ok("pictures.read", f"has a vision part; up to {images} pictures a request")
    else:
        yield fail(
            "pictures.read",
            f"the registry's images is {images}, and config.json names no vision part",
        )
