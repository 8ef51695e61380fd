"""What llama.cpp gets of a picture, and what reads it."""

import io
from pathlib import Path

import pytest
from PIL import Image

from engines.bundle.contents import ModelWeights, weights_pieces
from engines.bundle.errors import BundleError
from engines.checking.pictures import picture_findings
from engines.content import Picture
from engines.llamacpp import pictures
from engines.llamacpp.picture_prompts import PICTURE_TOKEN
from engines.llamacpp.pictures import PicturePrompt, blank, sizes
from engines.planning.stored import facts_of_path
from engines.registry.spec import EngineSpec
from engines.testing.tiny import TEMPLATE
from engines.weights.description import model_facts
from tests.support.engine_fixtures import answer, count, tiny_eyes_engine
from tests.support.pictures import picture
from tests.support.seeing import seen
from tests.support.tiny_eyes import MODEL, PROJECTOR, make_tiny_eyes


def shown(prompt: PicturePrompt) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for data in prompt.field()["multimodal_data"]]


START = 257
"""<|start|>, the first token of a text."""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_llamacpp_gets_pngs_of_our_own(kind: str) -> None:
    data = picture((30, 20), "red", kind)
    [png] = shown(PicturePrompt("", (Picture(data, 30, 20),), ()))
    assert (png.format, png.mode, png.size) == ("PNG", "RGB", (30, 20))
    assert png.getpixel((20, 10))[0] > 240  # type: ignore[index]


def test_a_salt_makes_it_another_file_of_the_same_pixels() -> None:
    file = (Picture(picture(), 32, 20),)
    sent = [
        PicturePrompt("", file, (), salt).field()["multimodal_data"] for salt in ("a", "b", None)
    ]
    assert len({*map(bytes, (data for [data] in sent))}) == 3
    assert len({Image.open(io.BytesIO(data)).tobytes() for [data] in sent}) == 1


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


def test_its_projector_is_checked_and_planned_with_it(tmp_path: Path) -> None:
    made = make_tiny_eyes(tmp_path)
    eyes = made.with_name(PROJECTOR)
    spec = EngineSpec(kind="llamacpp", source=str(tmp_path), projector=PROJECTOR)
    more = model_facts(spec, tmp_path).weights_bytes() - facts_of_path(made).weights_bytes()
    assert more == eyes.stat().st_size
    found = {
        path.name: [each.verdict for each in picture_findings({}, 4, "llamacpp", path)]
        for path in (eyes, made, tmp_path / "gone.gguf")
    }
    assert found == {PROJECTOR: ["ok"], MODEL: ["fail"], "gone.gguf": ["fail"]}


def test_a_bundle_carries_it_with_its_folder(tmp_path: Path) -> None:
    made = make_tiny_eyes(tmp_path)
    source = {"kind": "llamacpp", "projector": PROJECTOR}
    folder = EngineSpec(source=str(tmp_path), **source)  # type: ignore[arg-type]
    carried = [Path(each.path).name for each in weights_pieces([ModelWeights(folder, tmp_path)])]
    assert {MODEL, PROJECTOR} <= set(carried)
    alone = EngineSpec(source=str(made), **source)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="name its folder"):
        _ = [*weights_pieces([ModelWeights(alone, made)])]


SMOLVLM = """<|start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""  # noqa: E501
"""As it is published: a content that is a text shows nothing."""


@pytest.mark.anyio
@pytest.mark.parametrize("template", [TEMPLATE, SMOLVLM, TEMPLATE.replace("<|start|>", "")])
@pytest.mark.parametrize("adds_first", [True, False])
async def test_each_habit_of_templates_and_vocabularies(
    tmp_path: Path, template: str, adds_first: bool
) -> None:
    """What was counted is what is read, else the answer ends; a text's beginning, which the
    vocabulary adds, stands there once."""
    made = make_tiny_eyes(tmp_path, template=template, adds_first=adds_first)
    engine = tiny_eyes_engine(made)
    await engine.start()
    try:
        alone = list((await engine.render(seen("It is", "?"))).token_ids)
        request = seen("It is", picture(), "?", ignore_eos=True)
        prompt = await engine.render(request)
        first = [START] if adds_first and alone[0] != START else []
        assert [each for each in prompt.token_ids if each != PICTURE_TOKEN] == [*first, *alone]
        assert count(await answer(engine, request)) == 12
    finally:
        await engine.stop()
