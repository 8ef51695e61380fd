"""Which Fjord this is, and which engines' libraries are installed beside it, for /metrics."""

import importlib.metadata
import platform
from collections.abc import Iterable, Iterator
from functools import cache

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from engines.registry.vllm_models import vllm_version
from server import __version__


class BuildInfo(Collector):
    """One line that never changes. A library that is not installed has no version: "". Read from
    the packages' own words; nothing is imported."""

    def __init__(self) -> None:
        self._labels = {
            "version": __version__,
            "python": platform.python_version(),
            "vllm": vllm_version() or "",
            "llamacpp": _version("xllamacpp"),
        }

    def describe(self) -> Iterable[Metric]:
        return [_family()]

    def collect(self) -> Iterator[Metric]:
        family = _family()
        family.add_metric([], self._labels)
        yield family


def _family() -> InfoMetricFamily:
    return InfoMetricFamily("fjord_build", "Versions; llama.cpp's is that of its package.")


@cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
