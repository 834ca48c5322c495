"""The figures as one picture, from a report as `python -m benchmarks --json FILE` writes it.

    python -m benchmarks.speed.chart FILE.json FILE.png

draws it again. Greys, hatches and line styles stay apart in print.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.tables import MIB

STYLES: dict[str, dict[str, Any]] = {
    "npkd": {"color": "black", "marker": "o", "linestyle": "-"},
    "PyTorch": {"color": "0.45", "marker": "s", "linestyle": "--"},
}
FILLS: dict[str, dict[str, Any]] = {
    "npkd, BLAS threads": {"facecolor": "white", "hatch": "////"},
    "PyTorch": {"facecolor": "0.45"},
    "JAX": {"facecolor": "0.85", "hatch": "...."},
}


def draw(path: Path, report: dict[str, Any]) -> None:
    """Draw what there is of the parts in PANELS. Raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = report["parts"]
    panels = [panel for panel in PANELS if panel in parts]
    figure = Figure(figsize=(6.5 * len(panels), 9.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(headline(report))
    areas = figure.subfigures(1, len(panels), squeeze=False)[0]
    for area, panel in zip(areas, panels, strict=True):
        PANELS[panel](area, parts[panel])
    figure.savefig(path, dpi=110)


def headline(report: dict[str, Any]) -> str:
    """What the figures are of."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return (
        f"{versions}\n{machine['processor']}, {machine['cores']} cores, load before "
        f"{machine['load_before']:.1f}; medians over {report['rounds']} rounds, lines from the "
        "lowest to the highest"
    )


def draw_nets(area: Any, rows: list[dict]) -> None:
    """Ratios of each framework for each cell of the nets."""
    rows = at_most_threads(rows)
    labels = [f"{row['subject']}, {row['work']}, {row['batch']}" for row in rows]
    draw_ratios(area.subplots(), rows, labels, "the two nets, by batch")


def draw_ops(area: Any, rows: list[dict]) -> None:
    """Ratios for each operation, forward and backward."""
    rows = at_most_threads(rows)
    labels = [f"{row['subject']}, {row['work']}" for row in rows]
    draw_ratios(area.subplots(), rows, labels, f"operations, batch {rows[0]['batch']}")


def draw_ratios(axes: Any, rows: list[dict], labels: list[str], title: str) -> None:
    """Bars from 1 to the ratio, to the right where npkd is faster, with the ratio's spread."""
    from matplotlib.ticker import LogLocator, NullLocator

    frameworks = [name for name in FILLS if any(name in row["ratio"] for row in rows)]
    height = 0.8 / max(1, len(frameworks))
    for k, name in enumerate(frameworks):
        ratios = [row["ratio"][name] for row in rows]
        places = [line + (k + 0.5) * height - 0.4 for line in range(len(rows))]
        medians = [ratio["median"] for ratio in ratios]
        axes.barh(
            places,
            [median - 1 for median in medians],
            height,
            left=1,
            label=name,
            edgecolor="black",
            linewidth=0.6,
            xerr=[
                [ratio["median"] - ratio["lowest"] for ratio in ratios],
                [ratio["highest"] - ratio["median"] for ratio in ratios],
            ],
            error_kw={"elinewidth": 1.2, "capsize": 2},
            **FILLS[name],
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set(
        title=f"{title}, {threads_of(rows)}", xlabel="time / npkd's time (above 1 npkd is faster)"
    )
    if frameworks:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False)


def draw_scaling(area: Any, rows: list[dict]) -> None:
    """The large net by batch, in time and memory, and a convolution by side and by channels."""
    steps = [row for row in rows if row["work"] == "training step"]
    by = {"batch": steps}
    for what in ("side", "channels"):
        by[what] = [row for row in rows if row["subject"].startswith(f"conv2d, {what} ")]
    drawings: list[tuple[Any, str]] = [(draw_time, what) for what in by if by[what]]
    if "memory" in steps[0]:
        drawings.insert(1, (draw_memory, "batch"))
    columns = area.subplots(len(drawings), squeeze=False)
    for axes, (drawing, what) in zip(columns[:, 0], drawings, strict=True):
        sizes = [row["batch"] if what == "batch" else _last(row["subject"]) for row in by[what]]
        drawing(axes, by[what], sizes)
        axes.set(xlabel=what, xscale="log")
        axes.set_xticks(sizes, sizes)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
        if what == "batch":
            axes.set_ylim(bottom=0)
        else:
            axes.set(yscale="log", title=f"3×3 convolution and its gradients, by {what}")


def _last(subject: str) -> int:
    return int(subject.split()[-1])


def draw_time(axes: Any, rows: list[dict], sizes: list[int]) -> None:
    """Medians, and lines from the lowest to the highest of the rounds."""
    for name in rows[0]["median_ms"]:
        times = [[ms / row["batch"] for ms in row["rounds_ms"][name]] for row in rows]
        medians = [row["median_ms"][name] / row["batch"] for row in rows]
        below = [median - min(of) for median, of in zip(medians, times, strict=True)]
        above = [max(of) - median for median, of in zip(medians, times, strict=True)]
        axes.errorbar(sizes, medians, yerr=[below, above], label=name, capsize=3, **STYLES[name])
    axes.set(title=f"training step of the large net, {threads_of(rows)}", ylabel="ms an image")


def draw_memory(axes: Any, rows: list[dict], sizes: list[int]) -> None:
    """Peaks after the imports."""
    for name in rows[0]["memory"]:
        peaks = [row["memory"][name]["after_imports"] / MIB for row in rows]
        axes.plot(sizes, peaks, label=name, **STYLES[name])
    axes.set(title="its peak memory after the imports", ylabel="MiB")


PANELS = {"nets": draw_nets, "ops": draw_ops, "scaling": draw_scaling}


def at_most_threads(rows: list[dict]) -> list[dict]:
    """The rows at the highest number of threads."""
    most = max(row["threads"] for row in rows)
    return [row for row in rows if row["threads"] == most]


def threads_of(rows: list[dict]) -> str:
    number = rows[0]["threads"]
    return f"{number} thread" if number == 1 else f"{number} threads"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.chart", description=__doc__)
    parser.add_argument("report", type=Path, metavar="FILE.json")
    parser.add_argument("chart", type=Path, metavar="FILE.png")
    arguments = parser.parse_args()
    draw(arguments.chart, json.loads(arguments.report.read_text()))


if __name__ == "__main__":
    main()
