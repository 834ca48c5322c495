"""What eight bits cost: python -m benchmarks.eight_bits FOLDER… --data PATH [--write]

FOLDER is the folder of a run, of one data set with several seeds. Its distilled net is made one of
eight bits, with weights up to ± 127 and to ± 63, and after EPOCHS of distillation in the loop; each
is held beside ONNX Runtime, at both levels of optimisation, and PyTorch, bit by bit, on all test
images. With --write the table has its section in benchmarks/results/eight_bits.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks import figures, studies
from npkd import data
from npkd.data import Dataset
from npkd.distill.eight_bits import in_eight_bits
from npkd.distill.finished_run import FinishedRun
from npkd.distill.outputs import predictions
from npkd.distill.tasks import TASKS
from npkd.engine import threads
from npkd.export import to_onnx, to_torch
from npkd.quantise import Quantised, cost
from npkd.quantise.distilling import distilled
from npkd.quantise.loop import InTheLoop

KEPT = Path(__file__).parent / "results" / "eight_bits.md"
ABOVE = """# What eight bits cost

Of the distilled nets of [npkd/quantise](../../npkd/quantise/README.md), put here by
`python -m benchmarks.eight_bits FOLDER… --data PATH --write` from the folders of runs of
`npkd distill`. Accuracy is in % of the test images; *changed* are images of another class than in
float32; *moved*, the largest change of an output, in the median image and at most; *expected*, the
same to first order; *left*, the share of all changes that this leaves unexplained. *Same bits*:
test images of which all outputs have the same bits in ONNX Runtime (not optimised, optimised) and
in the module of PyTorch.
"""
HEAD = [
    *("seed", "weights up to", "bytes, fewer", "float32", "8 bits", "lost, points", "changed"),
    *("moved", "expected", "left", "same bits"),
]
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the nets, print the table, and keep it if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eight_bits", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--data", default="mnist5k", metavar="PATH")
    parser.add_argument("--epochs", type=int, default=2, help="of distillation in the loop (2)")
    parser.add_argument("--write", action="store_true", help="keep it in eight_bits.md")
    args = parser.parse_args(arguments)
    dataset, rows = data.load(args.data), []
    with threads.one_blas_thread(), np.errstate(all="ignore"):
        for folder in args.folders:
            for row in of_run(FinishedRun(folder), dataset, args.epochs):
                rows.append(row)
                print(*row, sep="\t", flush=True)
    lines = [HEAD, ["---"] * len(HEAD), *rows, *means(rows)]
    text = "\n".join(map(figures.row, lines))
    title = f"{dataset.name}, {len(dataset.test_labels):,} test images"
    print(f"{title}\n{text}")
    if args.write:
        held = KEPT.read_text(encoding="utf-8") if KEPT.exists() else ""
        page = studies.written(held, [f"## {title}\n\n{text}"], ABOVE)
        KEPT.write_text(page, encoding="utf-8")
        figures.note("eight_bits", dataset.name)


def of_run(run: FinishedRun, dataset: Dataset, epochs: int) -> list[list[str]]:
    """The rows of one run."""
    task = TASKS["classify"](dataset, run.task.config, run.task.normalise)
    x, labels = task.x_small(dataset.test_images[:]), dataset.test_labels
    network, seed = run.network("small"), str(run.report["seed"])
    y = np.concatenate([network(x[at : at + 100])[0] for at in range(0, len(x), 100)])
    made = {
        "127": in_eight_bits(task, "small", network),
        "63": in_eight_bits(task, "small", network, 63),
    }
    looped = InTheLoop(made["127"])
    distilled(run, dataset, looped, epochs)
    made[f"127, {epochs} epochs in the loop"] = looped.quantised()
    return [[seed, weights, *_figures(net, x, labels, y)] for weights, net in made.items()]


def _figures(net: Quantised, x: np.ndarray, labels: np.ndarray, y: np.ndarray) -> list[str]:
    found = cost(net, x)
    before, after = predictions(y), predictions(found.found)
    lost = np.mean(before == labels) - np.mean(after == labels)
    moved, expected = found.found - found.y, found.estimate
    left = np.sqrt(np.mean((moved - expected) ** 2) / np.mean(moved**2))
    most = [np.abs(one).max(axis=1) for one in (moved, expected)]
    sizes = [f"{np.median(one):.3f}, {one.max():.3f}" for one in most]
    same = [int((other == found.found).all(axis=1).sum()) for other in _elsewhere(net, x)]
    return [
        f"{net.network.nbytes / net.nbytes:.2f}",
        *(f"{100 * np.mean(of == labels):.2f}" for of in (before, after)),
        f"{100 * lost:+.2f}",
        str(int((before != after).sum())),
        *sizes,
        f"{left:.1%}",
        ", ".join(map(str, same)),
    ]


def _elsewhere(net: Quantised, x: np.ndarray) -> list[np.ndarray]:
    """The outputs in ONNX Runtime, at both levels, and in PyTorch."""
    model, found = to_onnx.model(net), []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found.append(session.run(None, {"x": x})[0])
    with torch.no_grad():
        found.append(to_torch.module(net)(torch.from_numpy(x)).numpy())
    return found


def means(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Over the seeds, by kind of net."""
    found: list[list[Any]] = []
    for kind in dict.fromkeys(row[1] for row in rows):
        of_kind = [row for row in rows if row[1] == kind]
        columns = [np.array([float(row[k]) for row in of_kind]) for k in (2, 3, 4, 5, 6)]
        cells = [
            f"{c.mean():{form}}"
            for c, form in zip(columns, (".2f", ".2f", ".2f", "+.2f", ".1f"), strict=True)
        ]
        found.append(["mean", kind, *cells, "", "", "", ""])
    return found


if __name__ == "__main__":
    main()
