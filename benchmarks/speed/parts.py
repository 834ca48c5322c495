"""The parts of the benchmark: from cells to rows of figures.

A part is measured at a number of threads, in so many rounds, and gives rows, each a dict as it
stands in the JSON file.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import tables
from benchmarks.speed.cells import (
    MATRIX_PRODUCT,
    NETS,
    OF_THE_FIELD,
    OPS,
    SCALED_CONVOLUTIONS,
    SIDE_OF_MATRICES,
    Cell,
    operations_of_a_step,
)
from benchmarks.speed.measure import (
    in_turn,
    peak_memory,
    peak_of_process,
    quotients,
    resource,
    spread,
)

BOTH = ("npkd", "PyTorch")
NET_FRAMEWORKS = ("npkd", "npkd, BLAS threads", "PyTorch", "JAX")
FLOOR_FRAMEWORKS = ("npkd", "products alone", "bytes alone", "interpreter alone")
MEMORY_FRAMEWORKS = ("npkd", "PyTorch", "JAX")
CONVOLUTION_FRAMEWORKS = (*BOTH, "MyGrad", "ONNX")
EXAMPLES = 10  # of a gradient check

LARGE_STEPS = [Cell("large", "training step", batch) for batch in (64, 128)]
STEPS = [*LARGE_STEPS, *(Cell("small", "training step", batch) for batch in (64, 128))]
FORWARDS = [Cell(net, "forward", batch) for net in NETS for batch in (1, 64, 128)]
SCALED = [
    *(Cell("large", "training step", batch) for batch in (16, 32, 64, 128, 256, 512)),
    *(Cell(subject, "forward and backward", 8) for subject in SCALED_CONVOLUTIONS),
]


def nets(threads: int, rounds: int) -> list[dict]:
    """Training steps and forward passes of the document's two nets."""
    return in_turn(dict.fromkeys([*STEPS, *FORWARDS], NET_FRAMEWORKS), threads, rounds)


def field(threads: int, rounds: int) -> list[dict]:
    """Training steps and forward passes of nets that people distil."""
    cells = [Cell(net, work, 64) for net in OF_THE_FIELD for work in ("training step", "forward")]
    return in_turn(dict.fromkeys(cells, BOTH), threads, rounds)


def floors(threads: int, rounds: int) -> list[dict]:
    """The same, and what they cannot do without alone: times in units of npkd's, below 1."""
    return in_turn(dict.fromkeys([*STEPS, *FORWARDS], FLOOR_FRAMEWORKS), threads, rounds)


def ops(threads: int, rounds: int) -> list[dict]:
    """Each operation alone, forward and backward."""
    cells = [Cell(op, work, 64) for op in OPS for work in ("forward", "backward")]
    return in_turn(dict.fromkeys(cells, BOTH), threads, rounds)


def rate(threads: int, rounds: int) -> list[dict]:
    """Training steps, with the share of BLAS's rate that they reach, round by round."""
    product = Cell(MATRIX_PRODUCT, "forward", SIDE_OF_MATRICES)
    blas, *steps = in_turn({product: ("NumPy",), **dict.fromkeys(STEPS, BOTH)}, threads, rounds)
    blas_rates = [2 * SIDE_OF_MATRICES**3 / ms / 1e6 for ms in blas["rounds_ms"]["NumPy"]]
    for row in steps:
        operations = operations_of_a_step(row["subject"], row["batch"])
        row |= {"gflop": operations / 1e9, "blas_gflops": spread(blas_rates), "share": {}}
        for name, milliseconds in row["rounds_ms"].items():
            rates = [operations / ms / 1e6 for ms in milliseconds]
            row["share"][name] = spread(quotients(rates, blas_rates))
    return steps


def memory(threads: int, rounds: int) -> list[dict]:
    """Peak memory of training the large net; one round tells it."""
    return [
        {"threads": threads}
        | cell._asdict()
        | {"memory": peak_memory(cell, MEMORY_FRAMEWORKS, threads)}
        for cell in (Cell("large", "training step", batch) for batch in (64, 128, 256, 512))
    ]


def scaling(threads: int, rounds: int) -> list[dict]:
    """Time and peak memory by the batch and by the side of images."""
    rows = in_turn(dict.fromkeys(SCALED, BOTH), threads, rounds)
    if resource:
        for cell, row in zip(SCALED, rows, strict=True):
            row["memory"] = peak_memory(cell, BOTH, threads)
    return rows


def convolution(threads: int, rounds: int) -> list[dict]:
    """The large net's second convolution in other code that runs on NumPy."""
    cells = {
        Cell("conv2, large", "forward", 64): CONVOLUTION_FRAMEWORKS,
        Cell("conv2, large", "forward and backward", 64): (*BOTH, "MyGrad"),
    }
    return in_turn(cells, threads, rounds)


def distillation(threads: int, rounds: int) -> list[dict]:
    """`npkd distill` as it comes, once: seconds by step, from its report."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        _npkd("distill", "--threads", str(threads), "--out", str(out))
        report = json.loads((out / "report.json").read_text())
    return [{"threads": threads, "seconds": report["seconds"]}]


def gradcheck(threads: int, rounds: int) -> list[dict]:
    """`npkd gradcheck` of everything, once."""
    clock = time.perf_counter()
    _npkd("gradcheck", "--threads", str(threads), "--examples", str(EXAMPLES))
    seconds = time.perf_counter() - clock
    return [{"threads": threads, "examples": EXAMPLES, "seconds": {"total": seconds}}]


def images(threads: int, rounds: int) -> list[dict]:
    """Peak memory of `npkd distill` by the number of training images, which stay in their files."""
    rows = []
    for count in (1000, 5000, 10_000, 50_000):
        row: dict = {"threads": threads, "images": count, "peak": {}}
        for layout, write in IMAGE_FILES.items():
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), count)
                settings = ["--large-epochs", "1", "--epochs", "2", "--threads", str(threads)]
                row["peak"][layout] = peak_of_process(
                    *NPKD, "distill", "--data", folder, "--out", f"{folder}/run", *settings
                )
        rows.append(row)
    return rows


def _write_cifar10(folder: Path, count: int) -> None:
    """Noise in five training files and a test file, in CIFAR-10's binary layout."""
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, images in zip(names, [count // 5] * 5 + [1000], strict=True):
        records = rng.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(images) % 10
        records.tofile(folder / f"{name}.bin")


def _write_npy(folder: Path, count: int) -> None:
    """Noise in .npy files, channels last."""
    rng = np.random.default_rng(0)
    for prefix, images in (("", count), ("test_", 1000)):
        pixels = rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
        np.save(folder / f"{prefix}images.npy", pixels)
        np.save(folder / f"{prefix}labels.npy", np.arange(images) % 10)


IMAGE_FILES = {"CIFAR-10": _write_cifar10, ".npy": _write_npy}


NPKD = (sys.executable, "-m", "npkd")


def _npkd(*arguments: str) -> None:
    subprocess.run([*NPKD, *arguments], check=True, stdout=subprocess.PIPE)


class Part(NamedTuple):
    """A part by what it is called, how it is measured, and how its rows become text.

    seconds: about how long it takes, once and for each round. each: whether it is measured at each
    number of threads, or at the highest only.
    """

    title: str
    measure: Callable[[int, int], list[dict]]
    table: Callable[[list[dict]], str]
    frameworks: tuple[str, ...]
    seconds: tuple[float, float]
    each: bool = False


PARTS = {
    "nets": Part("the document's two nets", nets, tables.ratios, NET_FRAMEWORKS, (10, 30), True),
    "field": Part("nets that people distil", field, tables.ratios, BOTH, (15, 12), True),
    "floors": Part(
        "what no code could save", floors, tables.ratios, FLOOR_FRAMEWORKS, (8, 16), True
    ),
    "ops": Part("operations alone", ops, tables.ratios, BOTH, (5, 22), True),
    "rate": Part("share of BLAS's rate", rate, tables.shares, BOTH, (5, 8), True),
    "memory": Part("peak memory", memory, tables.memory, MEMORY_FRAMEWORKS, (50, 0)),
    "images": Part("peak memory by the number of images", images, tables.images, (), (540, 0)),
    "scaling": Part("by batch, side, channels", scaling, tables.scaling, BOTH, (140, 30)),
    "convolution": Part("on NumPy", convolution, tables.ratios, CONVOLUTION_FRAMEWORKS, (5, 5)),
    "distillation": Part("npkd distill", distillation, tables.seconds, (), (100, 0)),
    "gradcheck": Part("npkd gradcheck", gradcheck, tables.seconds, (), (25, 0)),
}
