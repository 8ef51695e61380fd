"""Whether a model that is to read pictures has eyes."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.gguf import BadGguf, GgufFile

_EYES = re.compile(r"vision|visual|image|img|vit_")
"""In the names of a config's members: vision_config, image_token_id, img_processor, …"""


def picture_findings(
    config: Mapping[str, Any], images: int, kind: str, projector: Path | None = None
) -> Iterator[Finding]:
    """`images`: the registry's, `kind`: of its engine, which has a `projector` on llama.cpp.
    Nothing where none are to be read."""
    if not images:
        return
    if projector is not None:
        yield _of_projector(projector, images)
    elif kind == "llamacpp":
        yield note("pictures.read", "images has no effect: without a projector it reads text only")
    elif any(_EYES.search(name) for name in config):
        yield ok("pictures.read", f"has a vision part; up to {images} pictures a request")
    else:
        yield fail(
            "pictures.read",
            f"the registry's images is {images}, and config.json names no vision part",
        )


def _of_projector(path: Path, images: int) -> Finding:
    try:
        with contextlib.closing(GgufFile(path)) as file:
            is_projector = file.get("general.architecture") == "clip"
            has_eyes = is_projector and file.get("clip.has_vision_encoder") is True
            kind = file.get("clip.vision.projector_type") or file.get("clip.projector_type")
    except BadGguf as error:
        return fail("pictures.read", f"{path.name} is no readable GGUF file: {bounded(error)}")
    if not is_projector:
        return fail("pictures.read", f"{path.name} is no projector: its architecture is not clip")
    if not has_eyes:
        return fail("pictures.read", f"{path.name} is a projector without eyes")
    what = f"{path.name} ({bounded(kind, 40)}); up to {images} pictures a request"
    return ok("pictures.read", what)
