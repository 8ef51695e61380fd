"""One model -> all that is found about it, topic by topic. Nothing is fetched, no engine starts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.answers.model_tools import ModelTools
from engines.base import FOUND, EngineUnavailable
from engines.checking.adapter import adapter_findings
from engines.checking.config import config_findings, gguf_config_findings
from engines.checking.findings import Finding, bounded, fail, note
from engines.checking.folder import read_folder
from engines.checking.gguf_model import read_gguf
from engines.checking.memory import memory_findings
from engines.checking.model_files import ModelFiles
from engines.checking.pictures import picture_findings
from engines.checking.reasoning import bounds_findings, parser_finding, reasoning_findings
from engines.checking.remote_code import remote_code_findings
from engines.checking.rendering import TemplateTrial, try_template
from engines.checking.reranking import gguf_score_finding, reranking_findings
from engines.checking.stops import stop_findings
from engines.checking.template import template_findings
from engines.checking.tokenizer import tokenizer_findings
from engines.checking.tools import tool_findings
from engines.checking.weights import weights_findings
from engines.llamacpp.tools import MARKS
from engines.planning.machine import Machine
from engines.planning.shipped import shipped_config
from engines.registry.spec import EngineSpec, ModelSpec
from engines.registry.vllm_names import by_keyword
from engines.weights.present import present_weights

NO_MODEL = ("config.json", "config.gguf")
"""Findings after which nothing more can be said."""
MOST_TEXT = 500
"""Characters of a finding, once paths are out of it."""
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked: an engine's model, and the registry's entry where there is one."""

    spec: EngineSpec
    entry: ModelSpec | None = None
    shown: str
    """What the user typed: a path in another's complaint becomes this."""


def check(
    subject: Subject,
    machine: Machine,
    data_dir: Path,
    told: Told = lambda step: None,
    *,
    loads_tokenizer: bool = True,
) -> list[Finding]:
    """Blocks for some seconds, for most of them where it `loads_tokenizer`: by transformers. `told`
    hears what is done next."""
    if subject.spec.kind == "scripted":
        return [note("weights.here", "a scripted engine: there is no model to check")]
    try:
        path = present_weights(subject.spec, data_dir)
    except EngineUnavailable as error:
        return _scrubbed([fail("weights.here", str(error))], subject, None)
    if path is None:
        found = list(_of_nothing(subject))
    else:
        found = list(_of_files(subject, path, told, loads_tokenizer))
    if subject.entry is not None:
        found += adapter_findings(subject.entry, path, data_dir)
    if all(finding.id not in NO_MODEL for finding in found):
        found += memory_findings(subject.spec, path, machine, data_dir)
    return _scrubbed(found, subject, path)


def _of_nothing(subject: Subject) -> Iterator[Finding]:
    """What can be told of a model that is not here."""
    spec = subject.spec
    fetched = f"`fjord prepare {subject.shown}` fetches it"
    config = shipped_config(spec.source) if spec.kind == "vllm" else None
    rest = "what follows is by the figures that come with Fjord" if config else "little is known"
    yield note("weights.here", f"{spec.source} is not on this disk; {fetched}: {rest}")
    if config is not None:
        yield from config_findings(config, by_keyword(spec.args), _context(subject))


def _of_files(subject: Subject, path: Path, told: Told, loads_tokenizer: bool) -> Iterator[Finding]:
    told("reading its files")
    args = by_keyword(subject.spec.args)
    takes_generation = args.get("generation_config", "auto") == "auto"
    files = read_gguf(path) if path.is_file() else read_folder(path, takes_generation)
    yield from files.damage
    if files.config is None:
        if not any(each.id in NO_MODEL for each in files.damage):
            yield fail("config.json", "no config.json here: this is no model's folder")
        return
    yield from _config(subject, files, path)
    yield from weights_findings(path)
    if path.is_file() and subject.spec.kind == "vllm":
        yield note("weights.form", "a GGUF, which the first start converts for vLLM")
    if (elsewhere := args.get("tokenizer")) is not None:
        what = "chats, stop tokens and calls are its matter, and not looked at"
        yield note("tokenizer.elsewhere", f"args name another, {bounded(elsewhere, 60)}: {what}")
        return
    if files.kind == "folder":
        told("loading its tokenizer")
        yield from tokenizer_findings(path, loads=loads_tokenizer)
    if subject.spec.task == "generate" and files.is_causal:
        yield from _chat(subject, files, told)


def _config(subject: Subject, files: ModelFiles, path: Path) -> Iterator[Finding]:
    config, args = files.config or {}, by_keyword(subject.spec.args)
    images = subject.entry.images if subject.entry else 0
    name = subject.spec.projector
    projector = None if name is None else path.with_name(name)
    yield from picture_findings(config, images, subject.spec.kind, projector)
    if files.kind == "gguf":
        yield from gguf_config_findings(config, _context(subject))
        if subject.spec.task == "rerank":
            yield gguf_score_finding(config)
        return
    yield from config_findings(config, args, _context(subject))
    if subject.spec.task == "rerank":
        yield from reranking_findings(config, args)
    yield from remote_code_findings(files, args)


def _context(subject: Subject) -> int | None:
    return None if subject.entry is None else subject.entry.context_tokens


def _chat(subject: Subject, files: ModelFiles, told: Told) -> Iterator[Finding]:
    told("trying its chat template")
    entry, is_llamacpp = subject.entry, subject.spec.kind == "llamacpp"
    readable = MARKS if is_llamacpp else None
    trial = _trial(subject, files)
    if files.template is None and files.is_of_mistral:
        yield note("template.mistral", "none: mistral-common renders chats, which is not tried")
    else:
        yield from template_findings(trial)
    yield from stop_findings(files, trial)
    yield from tool_findings(files, entry.tool_parser if entry else None, readable)
    reasoning = entry.reasoning if entry else None
    yield from reasoning_findings(files, trial, reasoning, in_registry=entry is not None)
    if entry is not None:
        yield from bounds_findings(files, entry)
    if reasoning is not None and not is_llamacpp:
        yield parser_finding(by_keyword(subject.spec.args).get("reasoning_parser"))


def _trial(subject: Subject, files: ModelFiles) -> TemplateTrial:
    entry, vocabulary = subject.entry, files.vocabulary
    tools = ModelTools(
        files.template,
        lambda text: vocabulary is None or vocabulary.has(text),
        MARKS if subject.spec.kind == "llamacpp" else None,
        vocabulary.hidden if vocabulary is not None else (),
    )
    switches = entry.chat_template_kwargs if entry else {}
    return try_template(files, tools, switches, entry.call_parser if entry else FOUND)


def _scrubbed(findings: Sequence[Finding], subject: Subject, path: Path | None) -> list[Finding]:
    """No path of this machine but the one that was typed."""
    places = [p for p in (path, Path(subject.spec.source)) if p is not None and p.is_absolute()]
    return [_without(finding, places, subject.shown) for finding in findings]


def _without(finding: Finding, places: Sequence[Path], shown: str) -> Finding:
    text = finding.text
    for place in places:
        text = text.replace(str(place.resolve()), shown).replace(str(place), shown)
        text = text.replace(f"{place.parent}/", "")
    return dataclasses.replace(finding, text=bounded(text, MOST_TEXT))


def verdict_counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many of each."""
    verdicts = ("ok", "note", "fail")
    return {verdict: sum(f.verdict == verdict for f in findings) for verdict in verdicts}
