"""Measure npkd beside other frameworks, and print the ratios."""

import argparse
import json
import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import figures, tables
from benchmarks.speed import chart
from benchmarks.speed.measure import AT_WORK, installed, resource
from benchmarks.speed.parts import PARTS
from npkd import __version__, get_num_threads


def main() -> None:
    arguments = arguments_given()
    names = measurable(arguments.parts or list(PARTS))
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(names),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "parts": {},
    }
    print(heading(report))
    print(f"This takes about {minutes(names, arguments.threads, arguments.rounds)}.", flush=True)
    for name in names:
        rows = measured(name, arguments.threads, arguments.rounds)
        print(f"\n{name}: {PARTS[name].title}\n{PARTS[name].table(rows)}", flush=True)
        report["parts"][name] = rows
        if arguments.json:  # after each part, as some take long
            arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    if arguments.chart:
        chart.draw(arguments.chart, report)
    for name in ("floors", "nets"):  # the milliseconds in the table are those of nets
        if arguments.write and name in report["parts"]:
            rows = report["parts"][name]
            rows = [row for row in rows if row["threads"] == max(arguments.threads)]
            figures.fill("nets", 1, tables.in_columns(rows))
            figures.note("nets")


def arguments_given() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure npkd, PyTorch, and JAX where it is installed, side by side, each in a "
        "process of its own, in turn. Ratios are the framework's time over npkd's, round by round: "
        "above 1 npkd is the faster. In brackets stand the lowest and the highest of the rounds.",
    )
    say = parser.add_argument
    say("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all of them)")
    say(
        "--threads",
        type=positive_integer,
        nargs="+",
        default=sorted({1, get_num_threads()}),
        metavar="N",
        help="threads of each framework; nets, ops and rate are measured at each N, the other "
        "parts at the highest (default: 1, and as many as there are cores)",
    )
    say(
        "--rounds",
        type=positive_integer,
        default=9,
        metavar="N",
        help="how often each framework has its turn (default: %(default)s)",
    )
    say("--json", type=Path, metavar="FILE", help="write all figures, of every round, to FILE")
    say("--chart", type=Path, metavar="FILE", help="draw the figures (needs matplotlib)")
    say("--write", action="store_true", help="put nets and floors into benchmarks/results/nets.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"PART is {unknown[0]!r}, expected some of {', '.join(PARTS)}")
    if arguments.chart and not find_spec("matplotlib"):
        parser.error("--chart needs matplotlib: pip install 'npkd[app]'")
    if arguments.chart and arguments.parts and not chart.PANELS.keys() & arguments.parts:
        parser.error(f"--chart draws {', '.join(chart.PANELS)}: none of them is asked for")
    return arguments


def positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def measurable(names: list[str]) -> list[str]:
    """The parts that can be measured here; says what is missing."""
    if resource is None:
        untold = [name for name in names if name in ("memory", "images")]
        if untold:
            print(f"left out, as this system does not tell a process's peak: {', '.join(untold)}")
        names = [name for name in names if name not in untold]
    frameworks = dict.fromkeys(name for part in names for name in PARTS[part].frameworks)
    for framework in frameworks:
        if not installed(framework):
            package = AT_WORK[framework].package
            print(f"{framework} is not installed, and left out: pip install {package}")
    if not find_spec("threadpoolctl"):
        print("threadpoolctl is not installed, so npkd leaves threads to BLAS: pip install it too")
    return names


def machine() -> dict[str, Any]:
    """The processor, its cores, and how busy they were before."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
        model = models[0] if models else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {"processor": model, "cores": os.cpu_count(), "load_before": load}


def versions(parts: list[str]) -> dict[str, str]:
    """Of all that takes part in these parts, by package."""
    frameworks = [name for part in parts for name in PARTS[part].frameworks]
    packages = ["numpy", "threadpoolctl", *(AT_WORK[name].package for name in frameworks)]
    numbers = {name: version(name) for name in packages if name != "npkd" and find_spec(name)}
    return {"python": platform.python_version(), "npkd": __version__} | numbers


def heading(report: dict[str, Any]) -> str:
    """What was measured, and on what."""
    machine, threads = report["machine"], " and ".join(map(str, report["threads"]))
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load_before']:.1f}",
        ", ".join(f"{name} {number}" for name, number in report["versions"].items()),
        f"threads: {threads}; rounds: {report['rounds']}; float32",
        "ratios: time / npkd's time, above 1 npkd is faster (lowest to highest of the rounds)",
    ]
    if machine["load_before"] > 0.5:
        lines.append(
            "The machine has other work; where threads and cores are as many, PyTorch's threads "
            "then wait for one another, and ratios flatter npkd."
        )
    return "\n".join(lines)


def minutes(parts: list[str], threads: list[int], rounds: int) -> str:
    """About how long these parts take."""
    seconds = 0.0
    for part in parts:
        once, a_round = PARTS[part].seconds
        seconds += (once + a_round * rounds) * (len(threads) if PARTS[part].each else 1)
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def measured(part: str, threads: list[int], rounds: int) -> list[dict]:
    """A part's rows, at each number of threads or at the highest."""
    numbers = threads if PARTS[part].each else [max(threads)]
    return [row for number in numbers for row in PARTS[part].measure(number, rounds)]


if __name__ == "__main__":
    main()
