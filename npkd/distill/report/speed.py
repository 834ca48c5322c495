"""How quick a run's nets are, by what runs them, as `npkd speed` has measured; from report.json."""

from collections.abc import Mapping
from typing import Any

from npkd.data.recognised import counted
from npkd.distill.report.table import nets_of


def title(threads: int) -> str:
    """Of the table of so many threads."""
    with_ = counted(threads, "thread")
    return f"Milliseconds for so many images at once, and images in a second, with {with_}"


def threads_of(report: Mapping[str, Any]) -> list[int]:
    """The numbers of threads that were measured."""
    return sorted({one["threads"] for one in report.get("speed", [])})


def rows(report: Mapping[str, Any], threads: int) -> list[list[str]]:
    """A row for each net and what runs it; the last column is of the largest batch."""
    of = {
        (one["net"], one["by"], one["batch"]): one["ms"]
        for one in report["speed"]
        if one["threads"] == threads
    }
    batches = sorted({batch for _, _, batch in of})
    names = nets_of(report)
    head = ["", "by", *map(str, batches), f"images/s at {batches[-1]}"]
    lines = [head]
    for net, by in dict.fromkeys((net, by) for net, by, _ in of):
        ms = [of.get((net, by, batch)) for batch in batches]
        cells = ["–" if one is None else f"{one:.2f}" for one in ms]
        rate = "–" if ms[-1] is None else f"{1e3 * batches[-1] / ms[-1]:,.0f}"
        lines.append([names.get(net, net), by, *cells, rate])
    return lines
