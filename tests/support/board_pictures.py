"""Pictures of Grafana's boards, drawn by matplotlib from each board's own file: its panels where
gridPos has them, its queries asked of a Prometheus that has watched a server (board_load.py), its
legends, units and thresholds. Not by Grafana: what only Grafana does (colours, fonts) is near it.

`python -m tests.support.board_pictures [MINUTES]` writes docs/pictures/.
"""

import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.board_load import SCRAPE_S, watched
from tests.support.board_units import shown, ticks
from tests.support.paths import ROOT
from tests.support.prometheus import Prometheus

BOARDS = sorted((ROOT / "deploy/grafana/boards").glob("*.json"))
PICTURES = ROOT / "docs/pictures"
COLUMNS, WIDTH_PX, ROW_PX, DPI = 24, 1320, 27, 100
VARIABLES = {"$instance": ".*", "$alias": ".*", "$__rate_interval": "30s"}
BACK, PANEL, TEXT, FAINT, GRID = "#111217", "#181b1f", "#d8d9da", "#8e9095", "#2c3036"
COLOURS = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0"),
    *("#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477"),
)
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
MOST_LEGEND = 5


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), minutes) as prometheus:
        until = time.time() - SCRAPE_S
        for board in BOARDS:
            read = json.loads(board.read_text())
            path = PICTURES / f"board-{board.stem}.png"
            path.write_bytes(Board(prometheus, until, minutes * 60 - 10).drawn(read))
            sys.stderr.write(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KiB\n")


class Board:
    """One board at a moment, with what came before it."""

    def __init__(self, prometheus: Prometheus, until: float, seconds: float) -> None:
        self._prometheus = prometheus
        self._until, self._seconds = until, seconds

    def drawn(self, board: Mapping[str, Any]) -> bytes:
        """A PNG of at most 256 colours."""
        import matplotlib as mpl
        from PIL import Image

        mpl.use("Agg")
        from matplotlib import pyplot

        panels = board["panels"]
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) + 1
        size = WIDTH_PX / DPI, rows * ROW_PX / DPI
        figure = pyplot.figure(figsize=size, dpi=DPI, facecolor=BACK)
        figure.text(0.008, 1 - 0.62 / rows, board["title"], color=TEXT, size=12, weight="bold")
        for panel in panels:
            self._panel(figure, panel, rows)
        out = io.BytesIO()
        figure.savefig(out, facecolor=BACK)
        pyplot.close(figure)
        small = io.BytesIO()
        Image.open(out).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
        return small.getvalue()

    def _panel(self, figure: Any, panel: Mapping[str, Any], rows: int) -> None:
        place = panel["gridPos"]
        x, w = place["x"] / COLUMNS, place["w"] / COLUMNS
        top, h = 1 - (place["y"] + 1) / rows, place["h"] / rows
        if panel["type"] == "row":
            y = top - 0.68 / rows
            figure.text(x + 0.008, y, f"▾ {panel['title']}", color=TEXT, size=10, weight="bold")
            return
        gap_x, gap_y = 3 / WIDTH_PX, 3 / (rows * ROW_PX)
        frame = figure.add_axes((x + gap_x, top - h + gap_y, w - 2 * gap_x, h - 2 * gap_y))
        frame.set_facecolor(PANEL)
        frame.set(xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set_color(GRID)
        figure.text(x + 0.009, top - 0.8 / rows, panel["title"], color=TEXT, size=9)
        inside = (x + 0.012, top - h, w - 0.018, h - 1 / rows)
        draw = {"stat": self._stat, "table": self._table, "timeseries": self._lines}
        draw[panel["type"]](figure, frame, panel, inside)

    def _stat(self, figure: Any, frame: Any, panel: Mapping[str, Any], inside: Any) -> None:
        [target] = panel["targets"]
        found = self._prometheus.query(asked(target["expr"]), at=self._until)
        settings = panel["fieldConfig"]["defaults"]
        x, y, w, h = inside
        if not found:
            figure.text(x + w / 2, y + h / 2, "No data", color=FAINT, size=11, ha="center")
        for number, series in enumerate(found):
            value = float(series["value"][1])
            name = legend(target, series["metric"])
            middle = x + w * (number + 0.5) / len(found)
            words = {"size": 19, "weight": "bold", "ha": "center", "va": "center"}
            words["color"] = threshold(settings, value)
            figure.text(middle, y + h * 0.45, number_of(settings, value), **words)
            figure.text(middle, y + h * 0.1, name, color=FAINT, size=8, ha="center")

    def _table(self, figure: Any, frame: Any, panel: Mapping[str, Any], inside: Any) -> None:
        found = self._prometheus.query(asked(panel["targets"][0]["expr"]), at=self._until)
        rows = [columns(panel, series["metric"]) for series in found]
        heads = list(dict.fromkeys(name for row in rows for name in row))
        x, y, w, h = inside
        step = h / max(4, len(rows) + 2)
        for column, head in enumerate(heads):
            at = x + w * column / len(heads)
            figure.text(at, y + h - step, head, color="#6e9fff", size=8, weight="bold")
            for number, row in enumerate(rows):
                text = row.get(head, "")
                figure.text(at, y + h - step * (number + 2), text, color=TEXT, size=8)

    def _lines(self, figure: Any, frame: Any, panel: Mapping[str, Any], inside: Any) -> None:
        found = [
            (legend(target, series["metric"]), series["values"])
            for target in panel["targets"]
            for series in self._range(target["expr"])
        ]
        x, y, w, h = inside
        if not found:
            figure.text(x + w / 2, y + h / 2, "No data", color=FAINT, size=11, ha="center")
            return
        kept = min(len(found), MOST_LEGEND)
        lines = 0.075 * (kept + 1) + 0.03
        axes = figure.add_axes((x + 0.035, y + h * (lines + 0.09), w - 0.042, h * (0.88 - lines)))
        settings = panel["fieldConfig"]["defaults"]
        plotted(axes, found, settings, self._until - self._seconds, self._until)
        table(figure, found, settings["unit"], (x, y + h * 0.03, w, h * lines), kept)

    def _range(self, expression: str) -> list[dict[str, Any]]:
        answer = self._prometheus.ask(
            "query_range",
            query=asked(expression),
            start=str(self._until - self._seconds),
            end=str(self._until),
            step=str(SCRAPE_S),
        )
        series: list[dict[str, Any]] = answer["result"]
        return series


def asked(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    pattern = target.get("legendFormat") or ""
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), pattern).strip()


def columns(panel: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    """As the panel's own transformation leaves them."""
    hidden: set[str] = {"__name__"}
    for each in panel.get("transformations", ()):
        left_out = each.get("options", {}).get("excludeByName", {})
        hidden |= {name for name, is_out in left_out.items() if is_out}
    return {name: value for name, value in labels.items() if name not in hidden}


def number_of(settings: Mapping[str, Any], value: float) -> str:
    return shown(value, settings["unit"], settings.get("decimals"))


def threshold(settings: Mapping[str, Any], value: float) -> str:
    steps = settings.get("thresholds", {}).get("steps", [{"value": None, "color": "green"}])
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]["color"]]


def plotted(
    axes: Any, found: Sequence[Any], settings: Mapping[str, Any], began: float, ended: float
) -> None:
    custom, unit = settings["custom"], settings["unit"]
    axes.set_facecolor(PANEL)
    if "stacking" in custom:
        _stacked(axes, found, custom["fillOpacity"] / 100)
    else:
        for number, (_, values) in enumerate(found):
            xs, ys = with_gaps(values)
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(xs, ys, color=colour, linewidth=1.1)
            axes.fill_between(xs, ys, color=colour, alpha=custom["fillOpacity"] / 100, linewidth=0)
    axes.set_xlim(began, ended)
    highest = max(max(y for y in line.get_ydata() if y == y) for line in axes.lines)
    top = settings.get("max") or (1.05 * highest if highest > 0 else 1.0)
    axes.set_ylim(settings.get("min", 0), top)
    marked = ticks(top, unit)
    axes.set_yticks(marked, [shown(tick, unit) for tick in marked])
    marks = [began + (ended - began) * part / 4 for part in range(5)]
    axes.set_xticks(marks, [time.strftime("%H:%M:%S", time.localtime(mark)) for mark in marks])
    for label, side in zip(axes.get_xticklabels(), ("left", *["center"] * 3, "right"), strict=True):
        label.set_horizontalalignment(side)
    axes.tick_params(colors=FAINT, labelsize=7, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def with_gaps(values: Sequence[Any]) -> tuple[list[float], list[float]]:
    """A series' moments and values; a line ends where none came."""
    xs: list[float] = []
    ys: list[float] = []
    for at, value in values:
        if xs and float(at) - xs[-1] > 1.5 * SCRAPE_S:
            xs.append(xs[-1] + SCRAPE_S)
            ys.append(float("nan"))
        xs.append(float(at))
        ys.append(float(value))
    return xs, ys


def _stacked(axes: Any, found: Sequence[Any], alpha: float) -> None:
    moments = sorted({float(at) for _, values in found for at, _ in values})
    below = [0.0] * len(moments)
    for number, (_, values) in enumerate(found):
        known = {float(at): float(value) for at, value in values}
        above = [low + known.get(at, 0.0) for low, at in zip(below, moments, strict=True)]
        colour = COLOURS[number % len(COLOURS)]
        axes.fill_between(moments, below, above, color=colour, alpha=alpha, linewidth=0)
        axes.plot(moments, above, color=colour, linewidth=1.1)
        below = above


def table(figure: Any, found: Sequence[Any], unit: str, place: Any, kept: int) -> None:
    """The legend: each series' last value and its greatest."""
    x, y, w, h = place
    step = h / (kept + 1)
    for at, head in ((0.76, "Last"), (0.92, "Max")):
        figure.text(x + w * at, y + h - step * 0.8, head, color="#6e9fff", size=7, ha="right")
    for number, (name, values) in enumerate(found[:kept]):
        line = y + h - step * (number + 1.8)
        more = f"  (+{len(found) - kept} more)" if number == kept - 1 < len(found) - 1 else ""
        colour = COLOURS[number % len(COLOURS)]
        figure.text(x, line, "▬", color=colour, size=7)
        figure.text(x + 0.013, line, f"{name or 'value'}{more}", color=TEXT, size=7)
        numbers = [float(value) for _, value in values if value != "NaN"] or [float("nan")]
        for at, value in ((0.76, numbers[-1]), (0.92, max(numbers))):
            words = {"color": TEXT, "size": 7, "ha": "right"}
            figure.text(x + w * at, line, shown(value, unit), **words)


if __name__ == "__main__":
    main()
