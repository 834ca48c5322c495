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
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.verdicts.correct import correct, table_of_correct
from benchmarks.verdicts.functions import functions, table_of_functions
from benchmarks.verdicts.power import power, table_of_power
from benchmarks.verdicts.programs import (
    PRECISION,
    Arrays,
    Program,
    WrongProgram,
    case_of,
    quietly,
    spread,
)
from npkd.validate import Case, Report, judge
from npkd.validate.bounds.rounding import ARITHMETICS
from npkd.validate.faults.known import FAULTS
from npkd.validate.judging.trial import Trial
from npkd.validate.questions.numbers import dyadic, normal
from npkd.validate.questions.subjects import cases, subjects

FRAMEWORKS = {"PyTorch": "torch", "JAX": "jax"}
TOLERANCES = {"assert_close": (1.3e-6, 1e-5), "rtol 1e-3": (1e-3, 1e-5)}
PIPELINE = frozenset(fault.name for fault in FAULTS if fault.pipeline) | {"repeated worker seed"}
OUTCOMES = ("rightly", "among others", "unknown", "wrongly")


def installed() -> list[str]:
    """The frameworks that there are."""
    return [name for name, package in FRAMEWORKS.items() if find_spec(package)]


def wrong_programs() -> list[WrongProgram]:
    """Those of all frameworks that there are."""
    programs: list[WrongProgram] = []
    if "PyTorch" in installed():
        from benchmarks.verdicts import from_issues, in_torch

        programs += in_torch.WRONG_PROGRAMS + from_issues.WRONG_PROGRAMS
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
                "source": program.source,
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
        "from public issues": [r for r in figures["programs"] if r["source"]],
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
