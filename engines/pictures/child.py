"""A process that decodes pictures of strangers: `python -m engines.pictures.child`."""

import base64
import os
from collections.abc import Mapping
from typing import Any

from engines.host.confined import confine
from engines.host.warm_child import NICE, answer_questions, end_with_parent
from engines.pictures.opening import Unreadable, check_room, opened, upright

MOST_MEMORY_BYTES = 2**30
MOST_CPU_S = 1200


def looked_at(question: Mapping[str, Any]) -> dict[str, Any]:
    """{data: base64, room: pixels} -> {width, height} of the picture as it is seen, or {unreadable:
    why}: one that has more pixels than there is room for is not decoded."""
    try:
        with opened(base64.b64decode(question["data"])) as image:
            check_room(image.width, image.height, question["room"])
            width, height = upright(image).size
    except MemoryError:
        return {"unreadable": "needs too much memory; right would be a smaller one"}
    except Unreadable as error:
        return {"unreadable": str(error)}
    return {"width": width, "height": height}


def main() -> None:
    """The child's end."""
    end_with_parent()
    from PIL import Image, ImageOps  # noqa: F401 - before memory is bounded

    Image.init()
    os.nice(NICE)
    confine(MOST_MEMORY_BYTES, MOST_CPU_S)
    answer_questions(looked_at)


if __name__ == "__main__":
    main()
