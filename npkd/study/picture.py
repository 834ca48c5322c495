"""study.png: the figures of each setting, and its difference to the net from labels.

A row for each setting, in the order of the report. At the left the figures of the distilled net,
of the one from labels and of the teacher; at the right the difference of the first two, seed by
seed, with what it says. Drawn from what study.json holds (`results.report`).
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from npkd.distill.evaluate import WORDS
from npkd.distill.report.drawings import STYLES, WRONG
from npkd.distill.report.table import names_of
from npkd.files import one_line, write_atomically
from npkd.printing.pictures import Draw, png
from npkd.printing.text import short
from npkd.study.analysis import FEWEST_SEEDS
from npkd.study.tables import UNITS, VERDICTS, tested_on, written

WIDTH = 10.0  # inches
DOTS = 140  # an inch
MOST_DOTS = 60_000  # from top to bottom; matplotlib draws no more than 65,535
LINE = 30  # letters of a name in one line
MOST_LETTERS = 90  # of a name

GREY = "#555555"
BELOW = 0.14  # of a row: how far the dots of the seeds are below their mean
OF_VERDICT: dict[str, dict[str, Any]] = {
    "beats": {"color": "#009e73", "marker": ">"},
    "loses": {"color": WRONG, "marker": "<"},
    "none": {"color": GREY, "marker": "o", "markerfacecolor": "w"},
    "few": {"color": GREY, "marker": "x"},
    "failed": {"color": GREY, "marker": "x"},
}

Report = Mapping[str, Any]


def draw(path: Path, report: Report) -> None:
    """Draw study.png. Raises what `pictures.png` does."""
    (width, height), both = drawing(report)
    data = png(both, width=width, height=height, dpi=int(min(DOTS, MOST_DOTS / height)))
    write_atomically(path, lambda file: file.write(data))


def drawing(report: Report) -> tuple[tuple[float, float], Draw]:
    """Its width and height in inches, and what draws it."""
    names = [wrapped(setting["name"]) for setting in report["settings"]]
    lines = max(name.count("\n") + 1 for name in names)
    height = 2.1 + len(names) * max(0.48, 0.1 + 0.155 * lines)

    def both(figure: Any) -> None:
        figure.suptitle(_title(report), fontsize=11)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
        _figures(left, report)
        _differences(right, report)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.5, -0.5)  # the first one on top

    return (WIDTH, height), both


def wrapped(name: str) -> str:
    """A setting's name in lines, broken at its commas if these are close enough.

    A long one loses its middle: settings of one table begin alike, and differ in the end.
    """
    name = one_line(name)
    if len(name) > MOST_LETTERS:
        half = MOST_LETTERS // 2
        name = f"{name[: half - 1]}…{name[-half:]}"
    parts = name.split(", ")
    kept = [part.replace(" ", "\N{NO-BREAK SPACE}") if len(part) < LINE else part for part in parts]
    return "\n".join(textwrap.wrap(", ".join(kept), LINE, break_on_hyphens=False))


def _title(report: Report) -> str:
    """What was measured on which images, and how often."""
    data, seeds = report["data"], len(report["seeds"])
    what = "mean of {} seeds with its 95 % interval"
    if seeds < FEWEST_SEEDS:
        what = f"mean of {{}} seed(s); for intervals it takes {FEWEST_SEEDS}"
    return (
        f"{short(data['name'], 40)}: {data['train']:,} images to train, {data['test']:,} "
        f"{tested_on(report)}\n"
        f"{what.format(seeds)}"
    )


class _Point(NamedTuple):
    """A mean in its row with half of its interval, NaN for none, and the values of the seeds."""

    row: float
    mean: float
    half: float
    values: Sequence[float]

    @classmethod
    def of(cls, row: float, interval: Mapping[str, Any], scale: float) -> "_Point":
        """One that study.json holds; `scale` is that of `tables.UNITS`."""
        half = math.nan if interval["half"] is None else scale * interval["half"]
        return cls(
            row,
            scale * interval["mean"],
            half,
            [scale * value for value in interval["values"].values()],
        )


def _figures(axes: Any, report: Report) -> None:
    """What each net reaches. Of a setting that is the one from labels itself there is only one."""
    main = report["figure"]
    unit, scale, _ = UNITS[main]
    names = names_of(report["task"])
    small: list[_Point] = []
    labels: list[_Point] = []
    teacher: list[_Point] = []
    for row, setting in enumerate(report["settings"]):
        of_small, of_labels = setting["small"], setting["labels"]
        aside = 0.0 if setting["verdict"] == "same" else 0.21
        if main in of_small and aside:
            small.append(_Point.of(row - aside, of_small[main], scale))
        if main in of_labels:
            labels.append(_Point.of(row + aside, of_labels[main], scale))
        if f"teacher_{main}" in of_small:
            teacher.append(_Point.of(row, of_small[f"teacher_{main}"], scale))
    _rows(axes, report)
    look = {name: {key: STYLES[name][key] for key in ("color", "marker")} for name in STYLES}
    hollow = {**look["large"], "linestyle": "", "markerfacecolor": "w", "markersize": 4}
    means = [point.mean for point in teacher], [point.row for point in teacher]
    handles = [
        _points(axes, small, names["small"], look["small"]),
        _points(axes, labels, names["small_from_labels"], look["small_from_labels"]),
        *axes.plot(*means, label="teacher", zorder=4, **hollow),
    ]
    called = WORDS[main][0]
    axes.set(xlabel=f"{called}, {'%' if scale == 100 else unit}")
    if scale == 100:  # an interval may reach beyond what there is
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -2), min(high, 102))
    _legend(axes, called, handles)
    if not (small or labels or teacher):
        axes.set_xticks([])


def _differences(axes: Any, report: Report) -> None:
    """The distilled net's figure less that of the one from labels, and what is seen in it."""
    unit, scale, _ = UNITS[report["figure"]]
    found: dict[str, list[_Point]] = {verdict: [] for verdict in OF_VERDICT}
    _rows(axes, report)
    for row, setting in enumerate(report["settings"]):
        beside, failed = [], len({name.split(",")[0] for name in setting["failed"]})
        if setting["difference"] is not None:
            found[setting["verdict"]].append(_Point.of(row, setting["difference"], scale))
            beside.append((written(setting["difference"], report["figure"], "+"), "k"))
        if failed:
            beside.append((f"failed: {failed} of {len(report['seeds'])} seeds", WRONG))
        for number, (text, color) in enumerate(beside):
            place = row + 0.34 * (number - (len(beside) - 1) / 2)
            where = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
            axes.text(1.02, place, text, color=color, **where)
    axes.axvline(0, color="k", linewidth=0.8, zorder=1)
    handles = [
        _points(axes, points, VERDICTS[verdict], OF_VERDICT[verdict])
        for verdict, points in found.items()
        if points or verdict not in ("few", "failed")
    ]
    names = names_of(report["task"])
    one, other = (names[name].removeprefix("small, ") for name in ("small", "small_from_labels"))
    axes.set(xlabel=f"{one} − {other}, {unit}")
    _legend(axes, f"difference to the net {other}", handles)
    if not any(found.values()):
        axes.set_xticks([])


def _rows(axes: Any, report: Report) -> None:
    """The ground of the axes: every second row is a little darker."""
    for row in range(0, len(report["settings"]), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _points(axes: Any, points: Sequence[_Point], label: str, style: Mapping[str, Any]) -> Any:
    """Means with their intervals, and below each the values of the seeds; for the legend."""
    seeds = [(value, point.row + BELOW / 2) for point in points for value in point.values]
    axes.plot(*(zip(*seeds, strict=True) if seeds else ((), ())), **_dots(style["color"]))
    return axes.errorbar(
        [point.mean for point in points],
        [point.row - BELOW / 2 for point in points],
        xerr=[point.half for point in points],
        label=label,
        linestyle="",
        linewidth=1.5,
        capsize=2.5,
        markersize=6,
        zorder=3,
        **style,
    )


def _dots(color: str) -> dict[str, Any]:
    look = {"marker": "o", "markersize": 4, "markeredgewidth": 0, "linestyle": "", "alpha": 0.4}
    return look | {"color": color}


def _legend(axes: Any, title: str, handles: Sequence[Any]) -> None:
    """A legend on top of the axes, however high these are."""
    axes.legend(
        handles=[*handles, *axes.plot([], [], label="one seed", **_dots(GREY))],
        title=title,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.3,
        borderpad=0,
        ncols=2,
        columnspacing=1.2,
        fontsize=9,
        handlelength=2.2,
        frameon=False,
    )
