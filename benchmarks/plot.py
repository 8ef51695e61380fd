"""The table as a picture: front CPU, tokens/s and TTFT over the number of streams."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PANELS = (
    ("front_us_per_token", "front CPU, µs a token"),
    ("tokens_per_s", "tokens/s"),
    ("ttft_p50_ms", "TTFT p50, ms"),
)
COLOURS = (
    "#1b7f79",
    "#c2703d",
    "#7a8b99",
    "#5b4b8a",
    "#b0413e",
    "#3f6c9c",
    "#8a7a2f",
    "#444444",
    "#4f8a3c",
    "#b06fa0",
)
"""As many as there are sides."""


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write <path>.png and <path>.svg from the streamed, short-prompt cases."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    streamed = [row for row in rows if row["case"].endswith(" streamed")]
    models = list(dict.fromkeys(row["model"] for row in streamed))
    if not models:
        return
    size = (4.2 * len(PANELS), 3.2 * len(models))
    figure, axes = pyplot.subplots(len(models), len(PANELS), figsize=size, squeeze=False)
    for line, model in zip(axes, models, strict=True):
        for axis, (name, label) in zip(line, PANELS, strict=True):
            _panel(axis, [row for row in streamed if row["model"] == model], name)
            axis.set_title(f"{model}: {label}", fontsize=10)
    axes[0][0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path.with_suffix(".png"), dpi=150)
    figure.savefig(path.with_suffix(".svg"))
    pyplot.close(figure)


def _panel(axis: Any, rows: Sequence[Mapping[str, Any]], figure: str) -> None:
    sides = dict.fromkeys(row["side"] for row in rows)
    for side, colour in zip(sides, COLOURS, strict=False):
        points = sorted((int(r["case"].split()[0]), r[figure]) for r in rows if r["side"] == side)
        axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=side)
    ticks = sorted({int(row["case"].split()[0]) for row in rows})
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_ylim(bottom=0)
    axis.set_xlabel("streams", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
