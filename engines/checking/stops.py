"""Whether answers end: the tokens at which the engine stops, and the one that ends a turn."""

from collections.abc import Iterator, Mapping

from engines.checking.chats import ANSWER, ASSISTANT, ENDED, QUESTION_TOO
from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.checking.model_files import ModelFiles, StoredVocabulary
from engines.checking.rendering import TemplateTrial


def stop_findings(files: ModelFiles, trial: TemplateTrial) -> Iterator[Finding]:
    """`trial`: what the template made of chats."""
    vocabulary = files.vocabulary
    if vocabulary is None:
        yield note(
            "stop.tokens", "no vocabulary that can be read here: not known where answers end"
        )
        return
    if not files.stops:
        yield fail("stop.tokens", "no file names a token that ends an answer")
    unknown = [(s.where, i) for s in files.stops for i in s.ids if not 0 <= i < vocabulary.size]
    if unknown:
        named = bounded("; ".join(f"{where}: {token_id}" for where, token_id in unknown))
        what = f"answers end at tokens beyond the vocabulary's {vocabulary.size} ({named})"
        yield fail("stop.known", what)
    yield from _agreement(files, vocabulary)
    yield from _turn(files, vocabulary, trial)


def counted_ids(files: ModelFiles) -> frozenset[int]:
    """At which the engine stops."""
    named = {i for stop in files.stops if stop.counts for i in stop.ids}
    ids = files.vocabulary.ids if files.vocabulary is not None else {}
    return frozenset(named | {ids[text] for text in files.stop_texts if text in ids})


def _agreement(files: ModelFiles, vocabulary: StoredVocabulary) -> Iterator[Finding]:
    """A file that is a part of another, as the tokenizer's one of several, agrees."""
    if not files.stops:
        return
    told = {stop.where: frozenset(stop.ids) for stop in files.stops}
    widest = max(told.values(), key=len)
    apart = {where: ids for where, ids in told.items() if not ids <= widest}
    texts = {i: vocabulary.text_of(i) or str(i) for ids in told.values() for i in ids}
    if not apart or files.kind == "gguf":
        counted = sorted(counted_ids(files) & set(texts))
        shown = ", ".join(texts[i] for i in counted)
        yield ok("stop.tokens", f"answers end at {shown}")
        return
    shown = "; ".join(f"{where}: {_texts(ids, texts)}" for where, ids in told.items())
    yield note("stop.tokens", f"the files do not agree where answers end: {shown}")


def _texts(ids: frozenset[int], texts: Mapping[int, str]) -> str:
    return ", ".join(texts[i] for i in sorted(ids))


def _turn(
    files: ModelFiles, vocabulary: StoredVocabulary, trial: TemplateTrial
) -> Iterator[Finding]:
    """A last turn may end otherwise than one in the middle (gpt-oss): one of them must count."""
    texts = [text for chat in (ASSISTANT, ENDED) if (text := trial.text(chat)) is not None]
    if not texts:
        return
    found = [_first_special(_behind_answer(text), vocabulary) for text in texts]
    tokens = [token for token in found if token is not None]
    ends = [token for token in tokens if vocabulary.ids[token] in counted_ids(files)]
    if not tokens:
        yield note("stop.turn", "the template ends a turn with no token of its own")
    elif ends:
        yield ok("stop.turn", f"the template ends a turn with {ends[0]}")
    else:
        what = f"the template ends a turn with {tokens[0]}, at which no answer stops"
        yield fail("stop.turn", f"{what}: answers would not end")


def _behind_answer(text: str) -> str:
    return text.rpartition(ANSWER)[2].partition(QUESTION_TOO)[0]


def _first_special(text: str, vocabulary: StoredVocabulary) -> str | None:
    """The longest of those that begin first."""
    tokens = [each for each in vocabulary.special if each.strip() and each in text]
    found = [(text.find(each), -len(each), each) for each in tokens]
    return min(found)[2] if found else None
