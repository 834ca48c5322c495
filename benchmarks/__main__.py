"""Time the document's two nets in npkd and, where it is installed, in PyTorch."""

import argparse
import importlib.util
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import measure
from npkd import get_num_threads


def table(rows: list[dict], frameworks: list[str]) -> str:
    """The rows as plain text."""
    lines = [f"{'net':7}{'work':15}{'batch':>5}" + "".join(f"{f + ', ms':>14}" for f in frameworks)]
    if "PyTorch" in frameworks:
        lines[0] += f"{'PyTorch / npkd':>18}{'lowest to highest':>20}"
    for row in rows:
        line = f"{row['net']:7}{row['work']:15}{row['batch']:5}"
        line += "".join(f"{row['median_ms'][framework]:14.2f}" for framework in frameworks)
        if "ratio" in row:
            ratio = row["ratio"]
            line += f"{ratio['median']:18.2f}{ratio['lowest']:12.2f} to {ratio['highest']:4.2f}"
        lines.append(line)
    return "\n".join(lines)


def positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time training steps and forward passes of the document's two nets in npkd "
        "and, where it is installed, in PyTorch, each in a process of its own, in turn.",
    )
    parser.add_argument(
        "--threads",
        type=positive_integer,
        default=get_num_threads(),
        metavar="N",
        help="threads for each framework (default: the cores at hand, %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=9,
        metavar="N",
        help="how often each framework has its turn (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE too")
    arguments = parser.parse_args()

    frameworks, versions = ["npkd"], {"Python": platform.python_version()}
    versions["NumPy"] = version("numpy")
    if importlib.util.find_spec("torch"):
        frameworks.append("PyTorch")
        versions["PyTorch"] = version("torch")
    else:
        print("PyTorch is not installed, so npkd stands alone: pip install 'npkd[frameworks]'")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        print(
            f"The machine has other work (load {load:.1f}); where threads and cores are as many, "
            "PyTorch's threads then wait for one another, and ratios flatter npkd"
        )
    rows = measure(frameworks, arguments.threads, arguments.rounds)
    names = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{names}; threads: {arguments.threads}, rounds: {arguments.rounds}, float32")
    print(table(rows, frameworks))
    if arguments.json:
        report = {
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "load_before": load,
            "versions": versions,
            "cells": rows,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
