"""Frameworks in turn, each in a process of its own, as their thread pools disturb each other.

They take turns, npkd, PyTorch, npkd, PyTorch, … on each cell, so that whatever else the machine
does falls on both. Times are medians over the rounds, and ratios are taken round by round: the
ratios count, not the milliseconds.
"""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.frameworks import WORK, Cell

CELLS = [
    Cell("large", "training step", 64),
    Cell("small", "training step", 64),
    Cell("large", "forward", 1),
    Cell("large", "forward", 64),
    Cell("small", "forward", 1),
    Cell("small", "forward", 64),
]
SAMPLE_SECONDS = 0.3

work_of: Callable[[Cell], Callable[[], object]]  # in a framework's process: how it does a cell


def measure(frameworks: list[str], threads: int, rounds: int) -> list[dict]:
    """A row for each cell: its milliseconds by framework in each round, and what they come to."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)  # read as the processes start
    processes = {
        framework: ProcessPoolExecutor(1, get_context("spawn"), prepare, (framework, threads))
        for framework in frameworks
    }
    milliseconds: dict = {cell: {framework: [] for framework in frameworks} for cell in CELLS}
    for _ in range(rounds):
        for cell in CELLS:
            for framework, process in processes.items():
                milliseconds[cell][framework].append(process.submit(sample, cell).result())
    for process in processes.values():
        process.shutdown()
    return [cell._asdict() | summary(milliseconds[cell]) for cell in CELLS]


def prepare(framework: str, threads: int) -> None:
    """Make this process the framework's."""
    global work_of
    work_of = WORK[framework](threads)


def sample(cell: Cell) -> float:
    """Milliseconds that the cell's work takes, the median over SAMPLE_SECONDS, after a warm-up."""
    work = work_of(cell)
    work()
    work()
    times: list[float] = []
    while sum(times) < SAMPLE_SECONDS or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def summary(milliseconds: dict[str, list[float]]) -> dict:
    """Medians over the rounds, and PyTorch's time over npkd's: above 1, npkd is the faster."""
    row: dict = {
        "rounds_ms": milliseconds,
        "median_ms": {name: statistics.median(times) for name, times in milliseconds.items()},
    }
    if "PyTorch" in milliseconds:
        pairs = zip(milliseconds["PyTorch"], milliseconds["npkd"], strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        row["ratio"] = {
            "median": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return row
