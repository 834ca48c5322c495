"""The command `npkd speed`: how quick a run's nets are, here, in ONNX Runtime and in PyTorch.

All of a number of threads and a size of batch are measured in turn, round by round, so that what
else a machine does meets them alike; each figure is the median of its rounds.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from npkd.commands import say, say_where
from npkd.data.recognised import counted
from npkd.distill.finished_run import FinishedRun
from npkd.distill.report import speed
from npkd.distill.report.table import nets_of
from npkd.engine import threads
from npkd.export import to_onnx, to_torch
from npkd.files import BadInput
from npkd.nets import Network
from npkd.printing.text import aligned
from npkd.quantise import Quantised

ALIKE = ("small_from_labels", "small_from_labels_int8")  # as quick as the distilled ones
Run = Callable[[], object]
BATCHES = (1, 8, 64, 256)
MOST = 50  # pairs of a batch and a number of threads
ROUNDS, LEAST_ROUNDS = 25, 5
SECONDS = 0.5  # for each net, after which it has no more rounds than LEAST_ROUNDS


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd speed."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run: runs/NAME-SEED")
    given = " ".join(map(str, BATCHES))
    say(
        "--batch",
        type=int,
        nargs="+",
        default=list(BATCHES),
        metavar="N",
        help=f"images at once ({given})",
    )
    say("--threads", type=int, nargs="+", metavar="N", help="threads (1, and one for each core)")
    parser.set_defaults(run=_speed)


def _speed(args: argparse.Namespace) -> int:
    """Measure, print the tables, and keep them in the run's report."""
    counts = sorted(set(args.threads or (1, threads.get_num_threads())))
    batches = sorted(set(args.batch))
    for option, values, most in (("batch", batches, 10**5), ("threads", counts, threads.MOST)):
        for value in values:
            if not 1 <= value <= most:
                raise BadInput(f"--{option} has {value}, expected whole numbers from 1 to {most}")
    if len(counts) * len(batches) > MOST:
        raise BadInput(
            f"--batch and --threads are {len(counts) * len(batches):,} pairs, expected "
            f"{MOST} at most"
        )
    run = FinishedRun(args.folder)
    there = (name for name in nets_of(run.report) if name not in ALIKE)
    nets = {name: run.net(name) for name in there}
    found = [
        {"net": net, "by": by, "threads": count, "batch": batch, "ms": ms}
        for count in counts
        for net, by, batch, ms in measured(nets, batches, count)
    ]
    run.report["speed"] = found
    why = run.write()
    for count in counts:
        say(speed.title(count), *aligned(speed.rows(run.report, count)), "")
    say(f"kept in {run.folder / 'report.json'}", *[why] * bool(why))
    if missing := RUNNERS.keys() - {one["by"] for one in found}:
        say(f"note: not measured, as it is not there: {', '.join(sorted(missing))}")
    return 0


def measured(
    nets: dict[str, Any], batches: Iterable[int], count: int
) -> list[tuple[str, str, int, float]]:
    """Net, by what it was run, images at once, and the milliseconds that they took."""
    kept, found = threads.get_num_threads(), []
    threads.set_num_threads(count)
    try:
        for batch in batches:
            runs: dict[tuple[str, str], Run] = {}
            for name, net in nets.items():
                x = np.random.default_rng(0).standard_normal((batch, *net.image_shape))
                for by, make in RUNNERS.items():
                    run = make(net, x.astype(np.float32), count)
                    if run is not None:
                        runs[name, by] = run
            say_where(f"{counted(count, 'thread')}, {counted(batch, 'image')} at once")
            for (name, by), ms in _in_turn(runs).items():
                found.append((name, by, batch, ms))
    finally:
        threads.set_num_threads(kept)
        say_where()
    return found


def _in_turn(runs: dict[tuple[str, str], Run]) -> dict[tuple[str, str], float]:
    """The median milliseconds of each."""
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for run in runs.values():  # what is made at the first run is there then
        run()
    for number in range(ROUNDS):
        for key, run in runs.items():
            if number >= LEAST_ROUNDS and sum(seconds[key]) > SECONDS:
                continue
            start = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - start)
    return {key: 1e3 * float(np.median(of)) for key, of in seconds.items()}


# What runs nets; None where it is not there, or has no such net


def _npkd(net: Network | Quantised, x: np.ndarray, count: int) -> Run | None:
    def run() -> None:
        with threads.one_blas_thread(), np.errstate(all="ignore"):
            net.features(x, [net.last])

    return run


def _onnx_runtime(net: Network | Quantised, x: np.ndarray, count: int) -> Run | None:
    try:
        import onnxruntime

        model = to_onnx.model(net)
    except (ImportError, BadInput):
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = count, 1
    # its threads would go on turning while the others are measured
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _torch(net: Network | Quantised, x: np.ndarray, count: int) -> Run | None:
    if isinstance(net, Quantised):  # the module is there to be checked: it computes in float64
        return None
    try:
        import torch

        module = to_torch.module(net)
    except (ImportError, BadInput):
        return None
    given = torch.from_numpy(x)

    def run() -> None:
        torch.set_num_threads(count)
        with torch.inference_mode():
            module(given)

    return run


RUNNERS = {"npkd": _npkd, "ONNX Runtime": _onnx_runtime, "PyTorch": _torch}
