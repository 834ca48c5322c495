"""How well npkd.validate judges: `python -m benchmarks.verdicts [PART …]`.

    faults      each wrong program of `wrong_programs` and `wrong_programs_jax` on random instances
                of its subject: is it found out, and named; and what fixed tolerances say of it
    correct     right computations on random shapes, by PyTorch, JAX and NumPy, summed in many
                orders: none may be called a bug, and no exact probe may differ
    precision   factors rounded to TF32, bfloat16 and float16: the effective bits that are measured,
                and the names that are given
    conv        the convolutions of pytorch#170016, by PyTorch and by JAX
    power       the smallest factor on a result that is no longer CONSISTENT, by length of sums and
                by temperature of losses
    functions   how far exp, log and their like are off, on every float32 number (minutes)
    time        seconds to judge three training steps of the document's two nets

Fixed tolerances compare results with npkd's own, end to end: |a − b| ≤ atol + rtol |b|.
"""

import argparse
import json
import math
import multiprocessing
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import npkd.proofs.cases
from benchmarks import tables
from benchmarks.verdicts.functions import functions, table_of_functions
from benchmarks.verdicts.power import power, table_of_power
from benchmarks.verdicts.programs import PRECISION, Arrays, Program, WrongProgram
from npkd import losses, ops
from npkd.validate import BUG, CONSISTENT, Case, Operation, Report, judge
from npkd.validate.bounds.rounding import ARITHMETICS
from npkd.validate.faults.known import FAULTS
from npkd.validate.judging.trial import Trial
from npkd.validate.questions.at_random import EXACT, random_case
from npkd.validate.questions.numbers import dyadic, normal
from npkd.validate.questions.subjects import cases, subjects

FRAMEWORKS = {"PyTorch": "torch", "JAX": "jax"}
TOLERANCES = {"assert_close": (1.3e-6, 1e-5), "rtol 1e-3": (1e-3, 1e-5)}
PIPELINE = frozenset(fault.name for fault in FAULTS if fault.pipeline) | {"repeated worker seed"}
OUTCOMES = ("rightly", "among others", "unknown", "wrongly")
CORES = 2


def installed() -> list[str]:
    """The frameworks that there are."""
    return [name for name, package in FRAMEWORKS.items() if find_spec(package)]


def wrong_programs() -> list[WrongProgram]:
    """Those of all frameworks that there are."""
    programs: list[WrongProgram] = []
    if "PyTorch" in installed():
        from benchmarks.verdicts import in_torch

        programs += in_torch.WRONG_PROGRAMS
    if "JAX" in installed():
        from benchmarks.verdicts import in_jax

        programs += in_jax.WRONG_PROGRAMS
    return programs


def right_programs(framework: str) -> dict[str, Program]:
    """A right program for each subject."""
    if framework == "PyTorch":
        from benchmarks.verdicts.in_torch import RIGHT_PROGRAMS

        return RIGHT_PROGRAMS
    from npkd.validate.frameworks import jax as asked_jax

    return dict.fromkeys(subjects(), asked_jax.results)


def instance(subject: str, seed: int, number: int, *, large: bool = False) -> list[Case]:
    """The cases of a subject, all its probes, with numbers of their own; large: the document's."""
    rng = np.random.default_rng([seed, number])
    return [one for one in cases(rng, [subject]) if large or "of the document" not in one.name]


# What is said of a program


def judged(program: Program, probes: Sequence[Case]) -> tuple[Report, list[Arrays]]:
    """The report on a program, and the results that it gave."""
    found = [program(case) for case in probes]
    return judge(zip(probes, found, strict=True)), found


def naming(program: WrongProgram, report: Report) -> str:
    """Whether the judge finds a wrong program out and how it names the fault: one of OUTCOMES.

    "not found out" if the judge calls it right.
    """
    expected = set(program.faults)
    if program.is_precision:
        named = {one.precision for one in report.verdicts if not one.exact} - {"", "float32"}
        if not named:
            return "not found out" if report.ok else "unknown"
        if report.ok and named == expected:
            return "rightly"
        return "among others" if all(any(e in n for e in expected) for n in named) else "wrongly"
    if report.ok and not report.causes:  # conventions have a name too
        return "not found out"
    named = [set(cause.faults) for cause in report.causes]
    if any(one and expected.isdisjoint(one) for one in named):
        return "wrongly"
    if not all(named):
        return "unknown"
    return "rightly" if all(one == expected for one in named) else "among others"


def tolerated(probes: Sequence[Case], found: Sequence[Arrays], rtol: float, atol: float) -> bool:
    """Whether all results lie within a tolerance of npkd's own, which are end to end."""
    for case, arrays in zip(probes, found, strict=True):
        known = Trial(case, {}).known(ARITHMETICS["float32"])
        for name in case.needed & known.keys() & arrays.keys():
            expected = known[name].value.astype(np.float32)
            if arrays[name].shape != expected.shape:
                return False
            if not np.allclose(arrays[name], expected, rtol=rtol, atol=atol):
                return False
    return True


# faults


Row = dict[str, Any]


def of_instance(number: int, seed: int) -> tuple[list[Row], list[Row]]:
    """What is said of all programs on one instance: of the wrong ones, and of the right ones."""
    quietly()
    kept: dict[str, list[Case]] = {}

    def of(program: Program, subject: str) -> tuple[Report, Row]:
        if subject not in kept:
            kept[subject] = instance(subject, seed, number)
        report, found = judged(program, kept[subject])
        close = {name: tolerated(kept[subject], found, *of) for name, of in TOLERANCES.items()}
        return report, {"tolerated": close}

    wrong, right = [], []
    for program in wrong_programs():
        report, row = of(program.run, program.subject)
        row["causes"] = [list(cause.faults) for cause in report.causes]
        wrong.append(row | {"outcome": naming(program, report)})
    for framework in installed():
        for subject, run in right_programs(framework).items():
            if number == 0 or subject != "LargeCNN":  # that takes as long as all others together
                report, row = of(run, subject)
                right.append(row | {"framework": framework, "subject": subject, "ok": report.ok})
    return wrong, right


def faults(runs: int, seed: int) -> dict[str, Any]:
    """How every fault is found out and named, over so many instances."""
    instances = list(spread(partial(of_instance, seed=seed), range(runs)))
    rows = []
    for i, program in enumerate(wrong_programs()):
        outcomes = [wrong[i] for wrong, _ in instances]
        rows.append(
            {
                "number": program.number,
                "faults": list(program.faults),
                "subject": program.subject,
                "about": program.about,
                "pipeline": not PIPELINE.isdisjoint(program.faults),
                "outcomes": dict(Counter(one["outcome"] for one in outcomes)),
                "causes": [one["causes"] for one in outcomes if one["outcome"] != "rightly"][:1],
                "missed by": {
                    name: sum(one["tolerated"][name] for one in outcomes) for name in TOLERANCES
                },
            }
        )
    return {"programs": rows, "right": [row for _, right in instances for row in right]}


def table_of_faults(figures: Mapping[str, Any]) -> str:
    """By fault, and in all."""
    by_fault: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in sorted(figures["programs"], key=lambda row: row["number"]):
        by_fault.setdefault((row["number"], " / ".join(row["faults"])), []).append(row)
    head = ["number", "subject", "runs", "found out", *OUTCOMES, *TOLERANCES]
    body = [[f"{number}", name, *_counts(rows)] for (number, name), rows in by_fault.items()]
    totals = {
        "in all": [
            r for r in figures["programs"] if not r["pipeline"] and r["number"] != PRECISION
        ],
        "preparation of data": [r for r in figures["programs"] if r["pipeline"]],
        "precision": [r for r in figures["programs"] if r["number"] == PRECISION],
    }
    body += [["", name, *_counts(rows)] for name, rows in totals.items()]
    text = tables.aligned(head, body)
    lines = [text, "", "columns of tolerances: wrong results that they let pass", ""]
    for row in figures["programs"]:
        for causes in row["causes"]:
            outcomes = ", ".join(f"{count} {name}" for name, count in row["outcomes"].items())
            lines.append(f"{row['number']} {row['about']} ({row['subject']}): {outcomes}: {causes}")
    lines += ["", table_of_alarms(figures["right"])]
    return "\n".join(lines)


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs, those found out, the outcomes, and those that tolerances let pass."""
    outcomes: Counter[str] = sum((Counter(row["outcomes"]) for row in rows), Counter())
    runs = outcomes.total()
    missed = [sum(row["missed by"][name] for row in rows) for name in TOLERANCES]
    found = runs - outcomes["not found out"]
    return [f"{n:,}" for n in (runs, found, *(outcomes[name] for name in OUTCOMES), *missed)]


def table_of_alarms(rows: Sequence[Mapping[str, Any]]) -> str:
    """False alarms on right programs, by framework."""
    body = []
    for framework in dict.fromkeys(row["framework"] for row in rows):
        own = [row for row in rows if row["framework"] == framework]
        alarms = [sum(not row["ok"] for row in own)]
        alarms += [sum(not row["tolerated"][name] for row in own) for name in TOLERANCES]
        body.append([framework, *(f"{n:,}" for n in (len(own), *alarms))])
    head = ["right programs", "runs", "false alarms of npkd.validate", *TOLERANCES]
    return tables.aligned(head, body)


# correct


def products_of(op: str, x: np.ndarray, w: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """What y = Σ x w adds up: (3, terms), the entries of x, of w and of y, of each term."""
    if op == "linear":
        n, o, i = np.indices((len(x), *w.shape)).reshape(3, -1)
        return np.stack([n * w.shape[1] + i, o * w.shape[1] + i, n * len(w) + o])
    groups = options.get("groups", 1)
    kernel = np.array(w.shape[2:])
    stride, dilation = (np.broadcast_to(options.get(name, 1), 2) for name in ("stride", "dilation"))
    padding = options.get("padding", 0)
    padding = 0 if padding == "valid" else padding
    before = dilation * (kernel - 1) // 2 if padding == "same" else np.broadcast_to(padding, 2)
    y = ops.conv2d(x, w, **options)[0]
    n, o, p, q, c, i, j = np.indices((*y.shape, *w.shape[1:]), dtype=np.int64).reshape(7, -1)
    row, column = p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]
    row, column = row - before[0], column - before[1]
    inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
    channel = o // (len(w) // groups) * w.shape[1] + c
    entries = [
        np.ravel_multi_index((n, channel, row, column), x.shape, mode="clip"),
        np.ravel_multi_index((o, c, i, j), w.shape),
        np.ravel_multi_index((n, o, p, q), y.shape),
    ]
    return np.stack(entries)[:, inside]


def added_up(terms: np.ndarray, to: np.ndarray, size: int, order: str, rng) -> np.ndarray:
    """Σ of float32 terms by the entry that they belong to, in some order."""
    if order == "reversed":
        terms, to = terms[::-1], to[::-1]
    elif order == "permuted":
        permutation = rng.permutation(len(terms))
        terms, to = terms[permutation], to[permutation]
    elif order == "blocked":  # sums of blocks, and then of these
        blocks = int(rng.integers(2, 9))
        block = rng.integers(0, blocks, len(terms))
        partial_sums = np.zeros((size, blocks), np.float32)
        np.add.at(partial_sums, (to, block), terms)
        return partial_sums.sum(axis=1)
    elif order == "pairwise":
        by_entry = np.argsort(to, kind="stable")
        counts = np.bincount(to, minlength=size)
        columns = np.arange(len(to)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.zeros((2 ** math.ceil(math.log2(max(counts.max(), 1))), size), np.float32)
        table[columns, to[by_entry]] = terms[by_entry]
        while len(table) > 1:
            table = table[::2] + table[1::2]
        return table[0]
    y = np.zeros(size, np.float32)
    np.add.at(y, to, terms)
    return y


def in_order(case: Case, order: str, rng: np.random.Generator) -> Arrays:
    """conv2d or linear, and gradients, all sums in this order."""
    forward, _ = case.operations
    x, w = case.inputs["x"], case.inputs["w"]
    dy = case.inputs["dy"]
    of_x, of_w, of_y = products_of(forward.op, x, w, forward.options)

    def product(a, of_a, b, of_b, like, of_like):
        terms = a.ravel()[of_a] * b.ravel()[of_b]
        return added_up(terms, of_like, like.size, order, rng).reshape(like.shape)

    found = {
        "y": product(x, of_x, w, of_w, dy, of_y),
        "dx": product(dy, of_y, w, of_w, x, of_x),
        "dw": product(dy, of_y, x, of_x, w, of_w),
    }
    if "b" in case.inputs:
        b = case.inputs["b"]
        axes = (-1,) + (1,) * (dy.ndim - 2)
        found["y"] = found["y"] + b.reshape(axes)
        outputs = np.broadcast_to(np.arange(len(b)).reshape(axes), dy.shape).ravel()
        found["db"] = added_up(dy.ravel(), outputs, len(b), order, rng)
    return found


PERMUTED = (
    "l2",
    "l1",
    "huber",
    "cross_entropy",
    "kl",
    "soft_cross_entropy",
    "limit",
    "dkd",
    "dist",
)


def permuted(case: Case, rng: np.random.Generator) -> Arrays:
    """A loss on outputs, samples and classes in another order, and the gradient put back."""
    (operation,) = case.operations
    first = case.inputs[operation.inputs.get("student", "logits")]
    samples, classes = rng.permutation(len(first)), rng.permutation(first.shape[1])
    arguments = {
        name: np.argsort(classes)[x][samples] if name == "labels" else x[samples][:, classes]
        for name, x in ((name, case.inputs[at]) for name, at in operation.inputs.items())
    }
    value, gradient = getattr(losses, operation.op)(**arguments, **operation.options)
    found = {"value": np.asarray(value), "gradient": gradient}
    for name, array in list(found.items()):  # one number, or one for each sample, or for each entry
        found[name] = back = np.empty_like(array)
        back[np.ix_(*(samples, classes)[: array.ndim])] = array
    return found


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


def of_pytorch(rng: np.random.Generator, threads: int) -> Iterator[tuple[Case, Arrays]]:
    """Every op and loss, by torch.nn.functional and autograd; now and then large sums."""
    import torch

    from npkd.validate.frameworks import torch as asked_torch

    torch.set_num_threads(threads)
    while True:
        case = large_case(rng) if rng.random() < 0.01 else drawn(ALL, rng)
        yield case, asked_torch.results(case)


def of_jax(rng: np.random.Generator, compiled: bool) -> Iterator[tuple[Case, Arrays]]:
    """Compiled, each case as one; or operation by operation, 20 times with the same shapes."""
    import jax

    from npkd.validate.frameworks import jax as asked_jax

    while True:
        case = drawn(ALL, rng)
        with nullcontext() if compiled else jax.disable_jit():
            for _ in range(1 if compiled else 20):
                yield case, asked_jax.results(case)
                case = redrawn(case, rng)


def of_order(rng: np.random.Generator, order: str) -> Iterator[tuple[Case, Arrays]]:
    """Convolutions and linear maps, their sums in this order."""
    while True:
        case = drawn(("conv2d", "linear"), rng)
        yield case, in_order(case, order, rng)


def of_npkd(rng: np.random.Generator) -> Iterator[tuple[Case, Arrays]]:
    """Losses of npkd in float32 on permuted samples and classes."""
    while True:
        case = drawn(PERMUTED, rng)
        if all(x.ndim == 2 for name, x in case.inputs.items() if name != "labels"):
            yield case, permuted(case, rng)


COMPUTERS: dict[str, tuple[float, str, Callable[..., Iterator[tuple[Case, Arrays]]]]] = {
    "PyTorch, 1 thread": (0.25, "torch", partial(of_pytorch, threads=1)),
    "PyTorch, 2 threads": (0.2, "torch", partial(of_pytorch, threads=2)),
    "JAX, compiled": (0.05, "jax", partial(of_jax, compiled=True)),
    "JAX, op by op": (0.1, "jax", partial(of_jax, compiled=False)),
    "NumPy, in order": (0.06, "numpy", partial(of_order, order="in order")),
    "NumPy, reversed": (0.06, "numpy", partial(of_order, order="reversed")),
    "NumPy, permuted": (0.06, "numpy", partial(of_order, order="permuted")),
    "NumPy, in blocks": (0.06, "numpy", partial(of_order, order="blocked")),
    "NumPy, pairwise": (0.06, "numpy", partial(of_order, order="pairwise")),
    "npkd, permuted": (0.1, "numpy", of_npkd),
}


def large_case(rng: np.random.Generator) -> Case:
    """Sums of some thousand terms, that a framework splits among its threads."""
    if rng.random() < 0.5:
        return case_of("linear", normal, rng, x=(64, 4096), w=(256, 4096), b=(256,))
    return case_of("conv2d", normal, rng, {"padding": 1}, x=(8, 64, 16, 16), w=(64, 64, 3, 3))


def case_of(
    op: str,
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
    rng: np.random.Generator,
    options: Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
    **shapes: tuple[int, ...],
) -> Case:
    """An op and its backward pass on random arrays."""
    given = {name: draw(rng, shape) for name, shape in shapes.items()}
    y, _ = getattr(ops, op)(*given.values(), **(options or {}))
    names = {name: name for name in shapes}
    forward = Operation(op, op, names, {"y": "y"}, options or {})
    gradients = {f"d{name}": f"d{name}" for name in shapes}
    backward = Operation(
        f"{op} backward", f"{op}_backward", names | {"dy": "dy"}, gradients, options or {}
    )
    name = f"{op} {'exact' if exact else 'normal'}"
    inputs = given | {"dy": draw(rng, y.shape)}
    return Case(name, op, op, inputs, (forward, backward), exact, frozenset({"y", *gradients}))


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

    def add(self, case: Case, found: Arrays) -> None:
        """One more run."""
        report = judge([(case, found)])
        self.runs += 1
        self.exact += case.exact
        for one in report.verdicts:
            self.tensors += 1
            self.verdicts[one.verdict] += 1
            if one.verdict == BUG:
                options = [dict(operation.options) for operation in case.operations]
                shapes = {name: x.shape for name, x in case.inputs.items()}
                self.bugs.append(f"{one} {options} {shapes}")
            if case.exact:
                self.different += one.error > 0
                continue
            if one.verdict == CONSISTENT and one.ratio > self.ratio:
                self.ratio, self.of_ratio = one.ratio, f"{one.op} {one.tensor}"
            if one.verdict == CONSISTENT and one.band > self.band:
                self.band, self.of_band = one.band, f"{one.op} {one.tensor}"

    def __iadd__(self, other: "Correct") -> "Correct":
        """Both together."""
        for name in ("runs", "tensors", "exact", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.verdicts += other.verdicts
        self.bugs += other.bugs
        if other.ratio > self.ratio:
            self.ratio, self.of_ratio = other.ratio, other.of_ratio
        if other.band > self.band:
            self.band, self.of_band = other.band, other.of_band
        return self


def chunk_of_correct(task: tuple[str, int, int, int]) -> tuple[str, Correct]:
    """So many runs of one computer."""
    quietly()
    name, seed, chunk, runs = task
    rng = np.random.default_rng([seed, list(COMPUTERS).index(name), chunk])
    result, pairs = Correct(), COMPUTERS[name][2](rng)
    for _ in range(runs):
        result.add(*next(pairs))
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
        "ambiguous",
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
    return "\n".join(
        [tables.aligned(head, body), "", f"{figures['seconds']:.0f} seconds", *total.bugs[:10]]
    )


# precision


TERMS = (27, 72, 144, 288, 576, 1152)


def precision(runs: int, seed: int, terms: Sequence[int] = TERMS) -> dict[str, Any]:
    """Effective bits and names by precision, op, and the number of terms k."""
    from benchmarks.verdicts.in_torch import Pieces, in_precision, of_op

    rows = []
    for name in ("float32", "TF32", "bfloat16", "float16"):
        pieces = Pieces if name == "float32" else in_precision(name)
        for op in ("conv2d", "linear"):
            for k in terms:
                bits, names = [], Counter()
                for number in range(runs):
                    probes = probes_of(op, k, np.random.default_rng([seed, number]))
                    report = judge([(case, of_op(case, pieces)) for case in probes])
                    floats = [one for one in report.verdicts if not one.exact]
                    bits += [one.bits for one in floats if one.tensor == "y"]
                    names.update(
                        one.precision or one.verdict for one in floats if one.tensor != "db"
                    )
                row = {"precision": name, "op": op, "k": k, "bits": bits, "names": dict(names)}
                rows.append(row)
    return {"rows": rows}


def probes_of(op: str, k: int, rng: np.random.Generator) -> list[Case]:
    """Ordinary numbers, exact ones, and exact ones out of float16's range."""
    if op == "conv2d":
        shapes = {"x": (5, k // 9, 6, 8), "w": (12, k // 9, 3, 3), "b": (12,)}
        make = partial(case_of, "conv2d", options={"padding": 1}, **shapes)
    else:
        make = partial(case_of, "linear", x=(16, k), w=(24, k), b=(24,))
    large = partial(dyadic, unit=2.0**17)
    return [
        make(draw=normal, rng=rng),
        make(draw=dyadic, rng=rng, exact=True),
        make(draw=large, rng=rng, exact=True),
    ]


def table_of_precision(figures: Mapping[str, Any]) -> str:
    """A row for each precision, op and k."""
    body = []
    for row in figures["rows"]:
        bits = np.array(row["bits"])
        spread_of = f"{bits.mean():.2f} ({bits.min():.2f} to {bits.max():.2f})"
        names = ", ".join(f"{count} {name}" for name, count in row["names"].items())
        body.append([row["precision"], row["op"], str(row["k"]), spread_of, names])
    return tables.aligned(["factors in", "op", "k", "effective bits of y", "work"], body)


# conv


def convolutions(seed: int) -> dict[str, Any]:
    """What is said of PyTorch's and JAX's answers to the convolutions of pytorch#170016."""
    rng = np.random.default_rng(seed)
    rows = []
    for x, w, options in (
        ((1, 384, 13, 13), (256, 384, 3, 3), {"stride": 1, "padding": 1}),
        ((1, 20, 10, 10), (20, 20, 5, 5), {}),
    ):
        case = case_of("conv2d", normal, rng, options, x=x, w=w)
        exact = case_of("conv2d", dyadic, rng, options, exact=True, x=x, w=w)
        answers = {}
        for framework in installed():
            name = {"PyTorch": "torch", "JAX": "jax"}[framework]
            module = __import__(f"npkd.validate.frameworks.{name}", fromlist=["results"])
            answers[framework] = module.results(case)
            report = judge([(case, answers[framework]), (exact, module.results(exact))])
            for one in report.verdicts:
                if not one.exact:
                    of_exact = [
                        o.error for o in report.verdicts if o.exact and o.tensor == one.tensor
                    ]
                    rows.append(
                        {
                            "convolution": f"{'×'.join(map(str, x))} by {'×'.join(map(str, w))}",
                            "framework": framework,
                            "tensor": one.tensor,
                            "verdict": f"{one.verdict} {one.precision}",
                            "error": one.error,
                            "ratio": one.ratio,
                            "band": one.band,
                            "bits": one.bits,
                            "exact": max(of_exact),
                        }
                    )
        if len(answers) == 2:
            a, b = answers.values()
            for row in rows[-2 * len(a) :]:
                one, other = a[row["tensor"]], b[row["tensor"]]
                row["apart"] = float(np.max(np.abs(one - other)))
                rtol, atol = TOLERANCES["assert_close"]
                row["close"] = bool(np.allclose(one, other, rtol=rtol, atol=atol))
    return {"rows": rows}


def table_of_convolutions(figures: Mapping[str, Any]) -> str:
    """A row for each convolution, framework and tensor."""
    head = [
        "subject",
        "framework",
        "tensor",
        "verdict",
        "error",
        "error/bound",
        "of the band",
        "bits",
        "exact probe off by",
        "frameworks apart",
        "assert_close of the two",
    ]
    body = [
        [
            row["convolution"],
            row["framework"],
            row["tensor"],
            row["verdict"],
            *(f"{row[name]:.2g}" for name in ("error", "ratio", "band")),
            f"{row['bits']:.1f}",
            f"{row['exact']:g}",
            f"{row['apart']:.2g}" if "apart" in row else "–",
            {True: "passes", False: "fails", None: "–"}[row.get("close")],
        ]
        for row in figures["rows"]
    ]
    return tables.aligned(head, body)


# time


def seconds(runs: int, seed: int) -> dict[str, Any]:
    """The least of so many times that judging the document's nets took, and PyTorch's computing."""
    from npkd.validate.frameworks import torch as asked_torch

    *_, case = instance("distillation", seed, 0, large=True)
    steps = sum(operation.op == "l2" for operation in case.operations)
    computing, judging = [], []
    for _ in range(runs):
        begun = time.perf_counter()
        found = asked_torch.results(case)
        computed = time.perf_counter()
        report = judge([(case, found)])
        computing.append(computed - begun)
        judging.append(time.perf_counter() - computed)
    return {
        "case": case.name,
        "steps": steps,
        "tensors": len(report.verdicts),
        "ok": report.ok,
        "computing": min(computing),
        "judging": min(judging),
    }


def text_of_seconds(figures: Mapping[str, Any]) -> str:
    """In one line."""
    judging = figures["judging"]
    return (
        f"{figures['case']}: {figures['steps']} steps, {figures['tensors']} tensors, "
        f"{'right' if figures['ok'] else 'wrong'}: judged in {judging:.2f} s, "
        f"{judging / figures['steps']:.2f} s a step; computed by PyTorch in "
        f"{figures['computing']:.2f} s"
    )


# The command


def quietly() -> None:
    """Frameworks warn of what the programs do on purpose."""
    warnings.simplefilter("ignore")
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def spread(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """work(task) for all tasks, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=context) as pool:
        yield from pool.map(work, tasks)


@dataclass(frozen=True)
class Part:
    """A part of the benchmark: what measures it, what prints it, and the runs by default."""

    measure: Callable[..., dict[str, Any]]
    show: Callable[[Mapping[str, Any]], str]
    runs: int


PARTS = {
    "faults": Part(faults, table_of_faults, 10),
    "correct": Part(correct, table_of_correct, 10_000),
    "precision": Part(precision, table_of_precision, 10),
    "conv": Part(lambda runs, seed: convolutions(seed), table_of_convolutions, 1),
    "power": Part(power, table_of_power, 1),
    "functions": Part(functions, table_of_functions, 1),
    "time": Part(seconds, text_of_seconds, 3),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, all by default, and print them."""
    parser = argparse.ArgumentParser("python -m benchmarks.verdicts", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, help="how many, instead of each part's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.parts) - PARTS.keys()
    if unknown:
        parser.error(f"there is no part {unknown.pop()!r}; there are {', '.join(PARTS)}")
    figures = {}
    for name in arguments.parts or PARTS:
        part = PARTS[name]
        figures[name] = part.measure(arguments.runs or part.runs, arguments.seed)
        print(f"{name}\n\n{part.show(figures[name])}\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1, default=str))
