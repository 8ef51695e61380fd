"""Pictures within the server and its engines: the child that looks at them, what conversations
become, which engine they go to."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engines.answers.tool_prompt import calls_in_words, instructed
from engines.base import EngineOverloaded, GenerateRequest, InvalidRequest, Sampling
from engines.checking.pictures import picture_findings
from engines.content import Picture, joined, picture_parts, text_of
from engines.fleet.prefixes import prefixes_of
from engines.pictures import looking
from engines.pictures.bounds import LOW_SIDE
from engines.pictures.looking import PictureLooker
from engines.pictures.opening import Unreadable
from engines.pictures.pixels import pixels
from engines.registry.file import RegistryError
from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from engines.text_bound import all_texts, kept_texts, request_characters
from engines.vllm.arguments import picture_arguments
from tests.support.pictures import bomb, picture

RED, BLUE = picture(), picture(color="blue")


def seen(data: bytes, *texts: str) -> list[dict[str, Any]]:
    parts: list[Any] = [{"type": "text", "text": text} for text in texts]
    return [*parts, {"type": "picture", "picture": Picture(data, 32, 20)}]


def request(*content: Any) -> GenerateRequest:
    messages = [{"role": "user", "content": each} for each in content]
    return GenerateRequest(request_id="r", sampling=Sampling(max_tokens=1), messages=messages)


# The child


@pytest.fixture(scope="module")
def look() -> Any:
    looker = PictureLooker()
    yield looker
    looker.close()


def child_of(look: PictureLooker) -> Path:
    look(RED)
    look._child.begin()
    assert look._child._child is not None
    return Path("/proc") / str(look._child._child.pid)


def test_the_child_knows_nothing_of_the_servers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("FJORD_DATABASE_URL", "postgresql://fjord:secret@db/fjord")
    looker = PictureLooker()
    try:
        environment = (child_of(looker) / "environ").read_bytes()
    finally:
        looker.close()
    assert b"PYTHONPATH=" in environment
    assert b"secret" not in environment


def test_the_child_may_do_little(look: PictureLooker) -> None:
    said = (child_of(look) / "limits").read_text()
    told = {line[:26].strip(): line[26:].split()[:2] for line in said.splitlines()[1:]}
    for kind, most in (("file size", "0"), ("open files", "32"), ("cpu time", "1200")):
        assert told[f"Max {kind}"] == [most, most], said
    assert int(told["Max address space"][1]) < 2**32
    status = (child_of(look) / "status").read_text()
    assert "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_format_is_read_within_its_bounds(look: PictureLooker, kind: str) -> None:
    """WebP's decoder starts a thread of its own for a large one."""
    large = look(picture((3000, 2000), "green", kind))
    assert (large.width, large.height) == (3000, 2000)


def test_one_with_too_many_pixels_for_the_rest_is_not_decoded(look: PictureLooker) -> None:
    """Its header says it: cut off behind it, it is refused for its pixels all the same."""
    cut = bomb(6000)[:200]
    with pytest.raises(Unreadable, match="one too many; right would be at most 80000000 pixels"):
        look(cut, room=6000 * 6000 - 1)
    with pytest.raises(Unreadable, match="damaged or cut off"):
        look(cut, room=6000 * 6000)
    look(RED)
    with pytest.raises(Unreadable, match="one too many"):
        look(RED, room=32 * 20 - 1)


def test_what_was_looked_at_is_remembered(look: PictureLooker) -> None:
    first = look(RED)
    assert (first.width, first.height, first.data) == (32, 20, RED)
    child = look._child._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    try:
        assert look(RED).width == 32
    finally:
        os.kill(child.pid, signal.SIGCONT)


def test_several_ask_at_once(look: PictureLooker) -> None:
    sizes = [(number + 1, number + 2) for number in range(12)]
    told: dict[int, tuple[int, int]] = {}

    def ask(number: int) -> None:
        found = look(picture(sizes[number]))
        told[number] = (found.width, found.height)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [told[number] for number in range(12)] == sizes


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_CPU_S", 0.01)
    looker = PictureLooker()
    try:
        with pytest.raises(Unreadable, match="to decode"):
            looker(bomb(6_000))
        monkeypatch.setattr(looking, "MOST_CPU_S", 20.0)
        assert looker(RED).width == 32
    finally:
        looker.close()


def test_a_child_that_ends_refuses_that_one_alone(look: PictureLooker) -> None:
    look(RED)
    child = look._child._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    told: list[Any] = []

    def ask() -> None:
        try:
            told.append(look(picture((7, 7))))
        except Unreadable as refusal:
            told.append(refusal)

    asking = threading.Thread(target=ask)
    asking.start()
    while not look._child._turn.locked():
        time.sleep(0.01)
    child.kill()
    asking.join()
    assert isinstance(told[0], Unreadable)
    assert look(picture((8, 8))).width == 8


def test_without_a_child_nothing_is_read() -> None:
    looker = PictureLooker("engines.pictures.no_such_module")
    with pytest.raises(EngineOverloaded):
        looker(RED)
    looker.close()
    with pytest.raises(EngineOverloaded):
        looker(RED)


# Pixels


def test_a_low_one_is_small() -> None:
    large = picture((2000, 500))
    assert pixels(Picture(large, 2000, 500)).size == (2000, 500)
    assert pixels(Picture(large, 2000, 500, is_low=True)).size == (LOW_SIDE, LOW_SIDE // 4)
    assert pixels(Picture(RED, 32, 20, is_low=True)).size == (32, 20)


def test_what_is_transparent_is_white() -> None:
    clear = picture((4, 4), (255, 0, 0, 0))
    made = pixels(Picture(clear, 4, 4))
    assert (made.mode, made.getpixel((3, 3))) == ("RGB", (255, 255, 255))


def test_a_damaged_one_is_the_requests_fault() -> None:
    with pytest.raises(InvalidRequest):
        pixels(Picture(RED[:50], 32, 20))


# Conversations


def test_texts_of_a_content_with_pictures() -> None:
    content = seen(RED, "a", "b")
    assert text_of(content) == "ab"
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": None},
    ]
    assert kept_texts(messages) == ["ab"]
    assert all_texts(messages) == ["ab"]
    assert request_characters(request(content, "cd")) == 4
    assert len(list(picture_parts(messages))) == 1


def test_contents_are_joined() -> None:
    part = seen(RED)[0]
    assert joined("a", "-", "b") == "a-b"
    assert joined("a", "", [part]) == [{"type": "text", "text": "a"}, part]
    assert text_of(joined([part], "-", "b")) == "-b"


def test_tools_in_words_keep_pictures() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": seen(RED, "Look")},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": seen(BLUE)},
        {"role": "user", "content": "Well?"},
    ]
    worded = calls_in_words(messages)
    assert len(list(picture_parts(worded))) == 2
    assert text_of(worded[-1]["content"]) == "<tool_response>\n\n</tool_response>\nWell?"
    for role in ("user", "system"):
        told = instructed(messages[:1], "WORDS", role)
        assert len(list(picture_parts(told))) == 1
        assert "WORDS" in "".join(text_of(message["content"]) for message in told)


def test_pictures_tell_prompts_apart_for_the_router() -> None:
    a, b, again = (request(seen(data, "x")) for data in (RED, BLUE, RED))
    assert prefixes_of(a) == prefixes_of(again) != prefixes_of(b)


# Engines and the registry

MODEL = """
models:
  eyes:
    source: a/b
    context: 4K
    output: 1K
    images: 8
  text:
    source: a/b
    context: 4K
    output: 1K
  other:
    source: a/c
    context: 4K
    output: 1K
"""


def test_aliases_of_one_engine_share_its_room_for_pictures(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(MODEL)
    models = load_registry(file).models
    assert models["eyes"].engine == models["text"].engine
    assert models["eyes"].engine.images == 8
    assert [models[alias].most_images for alias in models] == [8, 0, 0]
    assert models["other"].engine.images == 0


@pytest.mark.parametrize("wrong", ["images: 65", "images: -1", "images: many", "images: 1.5"])
def test_a_wrong_number_of_pictures_stops_the_start(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(MODEL.replace("images: 8", wrong))
    with pytest.raises(RegistryError, match="images"):
        load_registry(file)


ON_LLAMACPP = MODEL.replace("images: 8", "images: 8\n    engine: llamacpp")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (ON_LLAMACPP, "images': needs a projector.*right would be projector:"),
        (MODEL.replace("images: 8", "images: 8\n    projector: m.gguf"), "projector': is llama"),
        (ON_LLAMACPP.replace("images: 8", "projector: m.gguf"), "projector': reads pictures, and"),
        (ON_LLAMACPP.replace("images: 8", "images: 8\n    projector: ../m.gguf"), "is wrong"),
        (ON_LLAMACPP.replace("images: 8", "images: 8\n    projector: m.bin"), "is wrong"),
    ],
)
def test_what_reads_pictures_on_llamacpp_is_named(tmp_path: Path, file: str, told: str) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(file)
    with pytest.raises(RegistryError, match=rf"registry.yaml:\d+: model 'eyes', key '.*{told}"):
        load_registry(path)


def test_an_alias_reads_pictures_where_its_engine_has_a_projector(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    also = "images: 8\n    projector: m.gguf\n    also: {llamacpp: {}}"
    path.write_text(MODEL.replace("images: 8", also))
    registry = load_registry(path)
    assert registry.models["eyes"].engine.projector is None
    other = registry.with_engine("llamacpp").models["eyes"]
    assert (other.engine.projector, other.most_images) == ("m.gguf", 8)
    path.write_text(MODEL.replace("images: 8", "images: 8\n    also: {llamacpp: {}}"))
    blind = load_registry(path).with_engine("llamacpp").models["eyes"]
    assert blind.most_images == 0


def test_vectors_are_made_of_texts(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(MODEL.replace("images: 8", "images: 8\n    task: embed"))
    with pytest.raises(RegistryError, match="images"):
        load_registry(file)


def test_an_engine_s_key_is_what_it_was_without_pictures() -> None:
    spec = EngineSpec(kind="vllm", source="a/b")
    assert spec.key == EngineSpec(kind="vllm", source="a/b", images=0).key
    assert spec.key != EngineSpec(kind="vllm", source="a/b", images=1).key


def test_vllm_is_told_how_many() -> None:
    told = picture_arguments(8, {"limit_mm_per_prompt": {"image": 0, "audio": 1}})
    assert told["limit_mm_per_prompt"] == {"video": 0, "image": 8, "audio": 1}
    assert told["mm_processor_cache_gb"] == 0


@pytest.mark.parametrize(
    ("config", "images", "kind", "verdicts"),
    [
        ({"vision_config": {}}, 8, "vllm", ["ok"]),
        ({"hidden_size": 1}, 8, "vllm", ["fail"]),
        ({"hidden_size": 1}, 0, "vllm", []),
        ({"hidden_size": 1}, 8, "llamacpp", ["note"]),
    ],
)
def test_a_model_without_eyes_is_found(
    config: Any, images: int, kind: str, verdicts: list[str]
) -> None:
    assert [each.verdict for each in picture_findings(config, images, kind)] == verdicts
