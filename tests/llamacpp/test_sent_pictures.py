"""What llama.cpp gets of a picture."""

import io

import pytest
from PIL import Image

from engines.content import Picture
from engines.llamacpp import pictures
from engines.llamacpp.pictures import PicturePrompt, blank, sizes
from tests.support.pictures import picture


def shown(prompt: PicturePrompt) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for data in prompt.field()["multimodal_data"]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_llamacpp_gets_pngs_of_our_own(kind: str) -> None:
    data = picture((30, 20), "red", kind)
    [png] = shown(PicturePrompt("", (Picture(data, 30, 20),), ()))
    assert (png.format, png.mode, png.size) == ("PNG", "RGB", (30, 20))
    assert png.getpixel((20, 10))[0] > 240  # type: ignore[index]


def test_sizes_are_bounded_and_those_of_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(pictures, "MOST_PIXELS_TOGETHER", 15_000)
    file = picture((1000, 500))
    one, low = Picture(file, 1000, 500), Picture(picture((2000, 10)), 2000, 10, is_low=True)
    assert sizes([one]) == [(141, 70)]
    assert sizes([low]) == [(512, 8)], "not narrower than 1 to 64"
    several = sizes([one] * 3)
    assert sum(width * height for width, height in several) <= 15_000
    prompt = PicturePrompt("", (one,) * 3, ())
    assert [each.size for each in shown(prompt)] == several
    assert Image.open(io.BytesIO(blank(several[0]))).size == several[0]
