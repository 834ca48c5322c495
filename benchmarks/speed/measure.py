"""Frameworks in turn, each in a process of its own, as their thread pools disturb each other.

They take turns, npkd, PyTorch, npkd, PyTorch, … on each cell, so that whatever else the machine
does falls on both. Times are medians over the rounds, and ratios are taken round by round: the
ratios count, not the milliseconds. Peak memory is that of a fresh process each.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

from benchmarks.speed.cells import Cell
from benchmarks.speed.floors import FLOORS
from benchmarks.speed.frameworks import FRAMEWORKS

try:
    import resource
except ImportError:  # not on every system
    resource = None  # type: ignore[assignment]

SAMPLE_SECONDS = 0.3
STEPS_FOR_MEMORY = 5
UNIT_OF_PEAK = 1 if sys.platform == "darwin" else 1024  # bytes, of the system's figure

AT_WORK = FRAMEWORKS | FLOORS

this_framework: Any  # in a framework's process: the framework


def in_turn(cells: Mapping[Cell, Sequence[str]], threads: int, rounds: int) -> list[dict]:
    """A row for each cell: milliseconds by framework in each round, and what they come to.

    cells: the frameworks that do each cell; those that are not installed are left out.
    """
    cells = {cell: list(filter(installed, names)) for cell, names in cells.items()}
    milliseconds: dict = {cell: {name: [] for name in names} for cell, names in cells.items()}
    at_work = dict.fromkeys(name for names in cells.values() for name in names)
    processes = {name: process_of(name, threads) for name in at_work}
    for _ in range(rounds):
        for cell, names in cells.items():
            for name in names:
                milliseconds[cell][name].append(processes[name].submit(sample, cell).result())
    for process in processes.values():
        process.shutdown()
    return [{"threads": threads} | cell._asdict() | summary(milliseconds[cell]) for cell in cells]


def peak_memory(cell: Cell, frameworks: Sequence[str], threads: int) -> dict[str, dict[str, int]]:
    """Bytes by framework: the peak, and how much of it came after the imports."""
    memory = {}
    for name in filter(installed, frameworks):
        with process_of(name, threads) as process:
            memory[name] = process.submit(peak_of, cell).result()
    return memory


def process_of(framework: str, threads: int) -> ProcessPoolExecutor:
    """A process that is the framework's, and has started."""
    with threads_of_libraries(threads):
        process = ProcessPoolExecutor(1, get_context("spawn"), start, (framework, threads))
        process.submit(os.getpid).result()
    return process


@contextmanager
def threads_of_libraries(threads: int) -> Iterator[None]:
    """Tell the libraries of processes started meanwhile how many threads to have."""
    before = dict(os.environ)
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def start(framework: str, threads: int) -> None:
    """Make this process the framework's."""
    global this_framework
    this_framework = AT_WORK[framework](threads)


def sample(cell: Cell) -> float:
    """Milliseconds that the cell's work takes, the median over SAMPLE_SECONDS, after a warm-up."""
    work = this_framework.work_of(cell)
    work()
    times: list[float] = []
    while sum(times) < SAMPLE_SECONDS:
        clock = time.perf_counter()
        work()
        times.append(time.perf_counter() - clock)
    return 1000 * statistics.median(times)


def peak_of(cell: Cell) -> dict[str, int]:
    """Bytes at this process's peak when it has done the cell's work some times."""
    imported = peak_so_far()
    work = this_framework.work_of(cell)
    for _ in range(STEPS_FOR_MEMORY):
        work()
    peak = peak_so_far()
    return {"peak": peak, "after_imports": peak - imported}


def peak_so_far() -> int:
    """Bytes of resident memory at this process's peak until now.

    Linux counts from its parent's memory on, so that a parent has to be smaller than its children
    are after their imports: ours imports no framework but npkd.
    """
    return UNIT_OF_PEAK * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_of_process(*command: str) -> int:
    """Bytes of resident memory at the peak of a process that runs this command to its end.

    Pages of files that it has mapped count too. See `peak_so_far` for what is counted before.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return UNIT_OF_PEAK * usage.ru_maxrss


def installed(framework: str) -> bool:
    """Whether a framework can be measured here."""
    return find_spec(AT_WORK[framework].package) is not None


def summary(milliseconds: dict[str, list[float]]) -> dict:
    """Medians over the rounds, and each framework's time over npkd's: above 1, npkd is faster."""
    ours = milliseconds.get("npkd", [])
    others = {name: times for name, times in milliseconds.items() if ours and name != "npkd"}
    return {
        "rounds_ms": milliseconds,
        "median_ms": {name: statistics.median(times) for name, times in milliseconds.items()},
        "ratio": {name: spread(quotients(times, ours)) for name, times in others.items()},
    }


def quotients(above: list[float], below: list[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(figures: list[float]) -> dict[str, float]:
    """The median of what the rounds gave, and how far they lie apart."""
    return {
        "median": statistics.median(figures),
        "lowest": min(figures),
        "highest": max(figures),
    }
