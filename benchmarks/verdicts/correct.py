"""Right computations, in all forms that are met: none of them may be called a bug."""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import npkd.proofs.cases
from benchmarks import tables
from benchmarks.verdicts.forms import (
    EMULATED,
    FORMULAS,
    TRANSFORMS,
    Product,
    convolution,
    rounded_to,
)
from benchmarks.verdicts.orders import PERMUTED, in_order, permuted
from benchmarks.verdicts.programs import Arrays, case_of, quietly, spread
from npkd.validate import BUG, CONSISTENT, UNPROVEN, Case, Verdict, judge
from npkd.validate.bounds.rounding import BFLOAT16, FLOAT16
from npkd.validate.questions.at_random import EXACT, random_case
from npkd.validate.questions.numbers import normal, small_integers
from npkd.validate.questions.subjects import cases

Pairs = list[tuple[Case, Arrays]]  # a run: a case with its results, and its probes if it has some


def redrawn(case: Case, rng: np.random.Generator) -> Case:
    """The same shapes with other numbers: those of each array, in another order."""
    inputs = {
        name: rng.permuted(x.ravel()).reshape(x.shape) if x.dtype.kind == "f" else x
        for name, x in case.inputs.items()
    }
    return Case(
        case.name, case.subject, case.about, inputs, case.operations, case.exact, case.needed
    )


def drawn(names: Sequence[str], rng: np.random.Generator) -> Case:
    """A case of one of these, an exact one as often as not, if there are any."""
    name = names[rng.integers(len(names))]
    return random_case(name, rng, exact=bool(name in EXACT and rng.random() < 0.5))


ALL = (*npkd.proofs.cases.OPS, *npkd.proofs.cases.LOSSES)


def of_pytorch(rng: np.random.Generator, threads: int) -> Iterator[Pairs]:
    """Every op and loss, by torch.nn.functional and autograd; now and then large sums."""
    import torch

    from npkd.validate.frameworks import torch as asked_torch

    torch.set_num_threads(threads)
    while True:
        case = large_case(rng) if rng.random() < 0.01 else drawn(ALL, rng)
        yield [(case, asked_torch.results(case))]


def of_jax(rng: np.random.Generator, compiled: bool) -> Iterator[Pairs]:
    """Compiled, each case as one; or operation by operation, 20 times with the same shapes."""
    import jax

    from npkd.validate.frameworks import jax as asked_jax

    while True:
        case = drawn(ALL, rng)
        with nullcontext() if compiled else jax.disable_jit():
            for _ in range(1 if compiled else 20):
                yield [(case, asked_jax.results(case))]
                case = redrawn(case, rng)


def of_order(rng: np.random.Generator, order: str) -> Iterator[Pairs]:
    """Convolutions and linear maps, their sums in this order."""
    while True:
        case = drawn(("conv2d", "linear"), rng)
        yield [(case, in_order(case, order, rng))]


def of_npkd(rng: np.random.Generator) -> Iterator[Pairs]:
    """Losses of npkd in float32 on permuted samples and classes."""
    while True:
        case = drawn(PERMUTED, rng)
        if all(x.ndim == 2 for name, x in case.inputs.items() if name != "labels"):
            yield [(case, permuted(case, rng))]


def of_products(rng: np.random.Generator, products: Mapping[str, Product]) -> Iterator[Pairs]:
    """Convolutions by transforms, or of factors in parts, each with an exact probe or without."""
    while True:
        product = products[rng.choice(list(products))]
        cases = some_convolutions(rng)[: int(rng.integers(1, 3))]
        yield [(case, convolution(case, product)) for case in cases]


def some_convolutions(rng: np.random.Generator, channels: int | None = None) -> list[Case]:
    """A convolution of 3 × 3 at stride 1 on ordinary numbers, and an exact probe of it."""
    images, outputs = rng.integers(1, 5, 2).tolist()
    channels = channels or int(2 ** rng.integers(0, 7))
    rows, columns = rng.integers(3, 20, 2).tolist()
    x, w, b = (images, channels, rows, columns), (outputs, channels, 3, 3), (outputs,)
    options = {"padding": int(rng.integers(0, 3))}
    return [
        case_of("conv2d", draw, rng, options, exact=draw is small_integers, x=x, w=w, b=b)
        for draw in (normal, small_integers)
    ]


def of_formulas(rng: np.random.Generator) -> Iterator[Pairs]:
    """One operation by another formula than npkd's."""
    formulas = list(FORMULAS)
    while True:
        yield [FORMULAS[formulas[rng.integers(len(formulas))]](rng)]


def of_rounded(rng: np.random.Generator) -> Iterator[Pairs]:
    """A subject's probes, every operation's inputs and results rounded to 16 bits."""
    names = (
        "conv2d",
        "linear",
        "relu",
        "max_pool2d",
        "avg_pool2d",
        "upsample bilinear",
        "kl",
        "l2",
    )
    while True:
        precision = (BFLOAT16, FLOAT16)[rng.integers(2)]
        probes = list(cases(rng, [names[rng.integers(len(names))]]))
        with np.errstate(all="ignore"):
            yield [(case, rounded_to(precision, case)) for case in probes]


def of_nets(rng: np.random.Generator) -> Iterator[Pairs]:
    """Random nets with batch norm in evaluation mode, forward and backward."""
    import torch
    from torch import nn

    from npkd.validate.recording.torch import record
    from npkd.validate.recording.torch.probes import exact_probes

    while True:
        torch.manual_seed(int(rng.integers(2**31)))
        channels, layers = 3, []
        for _ in range(int(rng.integers(1, 4))):
            width = int(rng.integers(2, 24))
            norm = nn.BatchNorm2d(width)
            norm.running_mean.normal_(0, 1)
            norm.running_var.uniform_(0.2, 3)
            norm.weight.data.normal_(1, 0.5)
            norm.bias.data.normal_(0, 0.5)
            layers += [nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU()]
            channels = width
        layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels * 16, 10)]
        net = nn.Sequential(*layers).eval()
        x = torch.randn(int(rng.integers(1, 5)), 3, 8, 8, requires_grad=True)
        recorded = record(net, x, rng=rng)
        yield [(recorded.case, recorded.results), *exact_probes(recorded, rng)]


def of_one_jit(rng: np.random.Generator) -> Iterator[Pairs]:
    """Functions of JAX that are compiled as one."""
    from benchmarks.verdicts import jitted

    yield from jitted.runs(rng)


COMPUTERS: dict[str, tuple[float, str, Callable[..., Iterator[Pairs]]]] = {
    "PyTorch, 1 thread": (0.2, "torch", partial(of_pytorch, threads=1)),
    "PyTorch, 2 threads": (0.12, "torch", partial(of_pytorch, threads=2)),
    "JAX, compiled": (0.03, "jax", partial(of_jax, compiled=True)),
    "JAX, op by op": (0.08, "jax", partial(of_jax, compiled=False)),
    "NumPy, in order": (0.04, "numpy", partial(of_order, order="in order")),
    "NumPy, reversed": (0.04, "numpy", partial(of_order, order="reversed")),
    "NumPy, permuted": (0.04, "numpy", partial(of_order, order="permuted")),
    "NumPy, in blocks": (0.04, "numpy", partial(of_order, order="blocked")),
    "NumPy, pairwise": (0.04, "numpy", partial(of_order, order="pairwise")),
    "npkd, permuted": (0.08, "numpy", of_npkd),
    "PyTorch, nets": (0.02, "torch", of_nets),
    "JAX, under one jit": (0.05, "jax", of_one_jit),
    "NumPy, transforms": (0.07, "numpy", partial(of_products, products=TRANSFORMS)),
    "NumPy, emulated": (0.05, "numpy", partial(of_products, products=EMULATED)),
    "NumPy, other formulas": (0.15, "numpy", of_formulas),
    "npkd, 16 bits": (0.03, "numpy", of_rounded),
}


def large_case(rng: np.random.Generator) -> Case:
    """Sums of some thousand terms, that a framework splits among its threads."""
    if rng.random() < 0.5:
        return case_of("linear", normal, rng, x=(64, 4096), w=(256, 4096), b=(256,))
    return case_of("conv2d", normal, rng, {"padding": 1}, x=(8, 64, 16, 16), w=(64, 64, 3, 3))


@dataclass
class Correct:
    """What was found of right computations by one computer."""

    runs: int = 0
    tensors: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    different: int = 0
    ratio: float = 0.0
    of_ratio: str = ""
    band: float = 0.0
    of_band: str = ""
    bugs: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, pairs: Pairs) -> None:
        """One more run."""
        report = judge(pairs)
        self.runs += 1
        self.exact += sum(case.exact for case, _ in pairs)
        for one in report.verdicts:
            self.tensors += 1
            self.verdicts[one.verdict] += 1
            if one.verdict == UNPROVEN:
                self.reasons[reason_of(one)] += 1
            if one.verdict == BUG:
                case = next(case for case, _ in pairs if case.name == one.case)
                options = [dict(operation.options) for operation in case.operations]
                shapes = {name: x.shape for name, x in case.inputs.items()}
                self.bugs.append(f"{one} {str(options)[:300]} {str(shapes)[:300]}")
            if one.exact:
                self.different += one.error > 0
                continue
            if one.verdict != CONSISTENT or one.lower:
                continue
            if one.ratio > self.ratio:
                self.ratio, self.of_ratio = one.ratio, f"{one.op} {one.tensor}"
            if one.band > self.band:
                self.band, self.of_band = one.band, f"{one.op} {one.tensor}"

    def __iadd__(self, other: "Correct") -> "Correct":
        """Both together."""
        for name in ("runs", "tensors", "exact", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.verdicts += other.verdicts
        self.bugs += other.bugs
        self.reasons += other.reasons
        if other.ratio > self.ratio:
            self.ratio, self.of_ratio = other.ratio, other.of_ratio
        if other.band > self.band:
            self.band, self.of_band = other.band, other.of_band
        return self


def reason_of(one: Verdict) -> str:
    """Why a tensor is UNPROVEN, by operation, without the figures."""
    note = re.sub(r"F\([^)]*\)|[0-9.]+%? ?", "…", one.note.partition(";")[0])
    return f"{one.op}: {note}"


def chunk_of_correct(task: tuple[str, int, int, int]) -> tuple[str, Correct]:
    """So many runs of one computer."""
    quietly()
    name, seed, chunk, runs = task
    rng = np.random.default_rng([seed, list(COMPUTERS).index(name), chunk])
    result, pairs = Correct(), COMPUTERS[name][2](rng)
    for _ in range(runs):
        result.add(next(pairs))
    return name, result


def correct(runs: int, seed: int, size: int = 50) -> dict[str, Any]:
    """So many runs, shared among those computers that there are."""
    present = {name: one for name, one in COMPUTERS.items() if find_spec(one[1])}
    whole = sum(share for share, _, _ in present.values())
    tasks = []
    for name, (share, _, _) in present.items():
        count = math.ceil(runs * share / whole)
        tasks += [
            (name, seed, chunk, min(size, count - chunk * size))
            for chunk in range(math.ceil(count / size))
        ]
    begun = time.perf_counter()
    results = {name: Correct() for name in present}
    for name, result in spread(chunk_of_correct, tasks):
        results[name] += result
    rows = {name: vars(result) for name, result in results.items()}
    return {"seconds": time.perf_counter() - begun, "computers": rows}


def table_of_correct(figures: Mapping[str, Any]) -> str:
    """A row for each computer."""
    total = Correct()
    rows = {name: Correct(**row) for name, row in figures["computers"].items()}
    for row in list(rows.values()):
        total += row
    head = [
        "computed by",
        "runs",
        "tensors",
        "bugs",
        "conventions",
        "unproven",
        "exact runs",
        "that differ",
        "largest error/bound",
        "subject",
        "largest of the band",
        "work",
    ]
    body = [
        [
            name,
            *(f"{n:,}" for n in (row.runs, row.tensors, row.verdicts[BUG])),
            *(f"{row.verdicts[verdict]:,}" for verdict in ("CONVENTION", "UNPROVEN")),
            *(f"{n:,}" for n in (row.exact, row.different)),
            f"{row.ratio:.3f}",
            row.of_ratio,
            f"{row.band:.3f}",
            row.of_band,
        ]
        for name, row in (rows | {"in all": total}).items()
    ]
    why = [f"{count:,} UNPROVEN, {reason}" for reason, count in total.reasons.most_common()]
    seconds = f"{figures['seconds']:.0f} seconds"
    return "\n".join([tables.aligned(head, body), "", *why, "", seconds, *total.bugs[:10]])
