"""Studies that have run, as tables: python -m benchmarks.studies FOLDER… [--write]

FOLDER is what `npkd study` made. With --write each has its section in benchmarks/results/studies.md
in place of an older one of the same question and data; the others there stay as they are.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures
from npkd.data.recognised import counted
from npkd.study import page, running, tables

KEPT = Path(__file__).parent / "results" / "studies.md"
SECTION = "\n## "
ABOVE = """# What studies found

Figures of studies that [npkd/study](../../npkd/study/README.md#what-it-found) sums up, put
here by `python -m benchmarks.studies FOLDER… --write` from the folders that `npkd study NAME` made.
What the columns mean is said there too.
"""


def section(report: Mapping[str, Any]) -> str:
    """A study: its question, what was expected, the answer, the tables."""
    data, seeds = report["data"], report["seeds"]
    pieces = [
        f"{SECTION.lstrip()}{data['name']}: {report['question']}",
        f"{data['train']:,} images to train, {data['test']:,} "
        f"{tables.tested_on(report)}, {counted(len(seeds), 'seed')}.",
        *([f"*Expected before it ran:* {_flat(report['expected'])}"] if report["expected"] else []),
        f"*Found:* {' '.join(page.answer(report))}",
        _table(tables.rows(report)),
        "The same nets otherwise:",
        _table(tables.rows_of_others(report)),
    ]
    return "\n\n".join(pieces) + "\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *lines = rows
    return "\n".join(map(figures.row, [head, ["---"] * len(head), *lines]))


def written(text: str, found: Sequence[str], above: str = ABOVE) -> str:
    """The page with these sections, each in place of that with the same heading."""
    _, *held = text.split(SECTION)
    sections = {one.split("\n", 1)[0]: one.strip() for one in held}
    for one in found:
        one = one.removeprefix(SECTION.lstrip())
        sections[one.split("\n", 1)[0]] = one.strip()
    return above + "".join(f"{SECTION}{one}\n" for one in sections.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help=f"keep them in {KEPT.name}")
    args = parser.parse_args()
    reports = [json.loads((one / running.RESULT).read_text("utf-8")) for one in args.folders]
    found = [section(report) for report in reports]
    print(*found, sep="\n", end="")
    if args.write:
        KEPT.write_text(written(KEPT.read_text("utf-8") if KEPT.exists() else "", found), "utf-8")
        for report in reports:
            figures.note("studies", f"{report['data']['name']}: {report['question']}")


if __name__ == "__main__":
    main()
