"""What the judge says of released frameworks, which it has not been told anything about.

    python -m benchmarks.verdicts.released [NAME…] --envs DIR [--random 10] [--write]

Each version is installed by pip into an environment of its own under --envs. There it answers the
judge's own cases, and so many random ones of each operation and loss, and as many of many channels,
by its adapter and the harness that is exported beside the cases, without npkd; older releases need
an older NumPy. PyTorch and JAX, which are asked whole passes, answer with npkd installed beside
them. A version that takes Python down with it is asked again, each case by a process of its own,
and those in which it dies are listed. --write keeps the verdicts in benchmarks/results/released.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np

import npkd.proofs.cases
from benchmarks import figures
from npkd.files import BadInput
from npkd.validate import BUG, CONSISTENT, CONVENTION, UNPROVEN, Report, judge
from npkd.validate.frameworks import FRAMEWORKS
from npkd.validate.judging.verdicts import as_json
from npkd.validate.program import Arrays, Case
from npkd.validate.questions import exchange
from npkd.validate.questions.at_random import EXACT, random_case
from npkd.validate.questions.subjects import cases

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "benchmarks" / "results" / "released"
SECONDS = 3600  # that a version may take to answer
LARGE = ("LargeCNN", "SmallCNN", "distillation")  # subjects that are left out
IN_HOUSE = ("torch", "jax")


@dataclass(frozen=True)
class Release:
    """A version of a framework.

    framework     the name of its adapter
    version       as it is shown
    requirements  for pip
    settings      of the adapter
    environ       variables it runs with
    """

    framework: str
    version: str
    requirements: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    environ: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return f"{self.settings.get('engine', self.framework)} {self.version}{self.flags}"

    @property
    def flags(self) -> str:
        """What is set, in words; nothing of an engine."""
        others = {name: value for name, value in self.settings.items() if name != "engine"}
        return "".join(f" {name}" + f" {x}" * (x is not True) for name, x in others.items())


def _onnx(engine: str, package: str, pairs: Mapping[str, Sequence[str]]) -> list[Release]:
    """Each version with the operators that are asked by default, and the newest with others."""
    *_, newest = pairs
    asked = [(version, {}) for version in pairs]
    asked += [(newest, {"opset": opset}) for opset in OPSETS]
    return [
        Release("onnx", one, (f"{package}=={one}", *pairs[one]), {"engine": engine, **opset})
        for one, opset in asked
    ]


def _of(framework: str, package: str, pairs: Mapping[str, Sequence[str]]) -> list[Release]:
    return [
        Release(framework, version, (f"{package}=={version}", *others))
        for version, others in pairs.items()
    ]


OPSETS = (13, 22)
OLD = ("numpy<2", "onnx<1.17")  # what was built before NumPy 2
RELEASES = [
    *_onnx(
        "onnxruntime",
        "onnxruntime",
        {
            "1.15.1": ("numpy<2", "onnx<1.15"),
            "1.18.1": OLD,
            "1.22.1": ("onnx<1.18",),
            "1.32.0": ("onnx",),
        },
    ),
    Release(
        "onnx",
        "1.22.1",
        ("onnxruntime==1.22.1", "onnx<1.18"),
        {"engine": "onnxruntime", "opset": 17},
    ),
    *_onnx("openvino", "openvino", {"2023.3.0": OLD, "2024.6.0": OLD, "2026.4.1": ("onnx",)}),
    *_onnx("reference", "onnx", {"1.14.1": ("numpy<2",), "1.16.2": ("numpy<2",), "1.23.2": ()}),
    *_of("paddle", "paddlepaddle", {"2.6.2": ("numpy<2",), "3.0.0": (), "3.3.1": ()}),
    *_of("mlx", "mlx", {"0.21.1": (), "0.25.2": ()}),
    *_of("mlx", "mlx[cpu]", {"0.32.4": ()}),
    *_of("tinygrad", "tinygrad", {"0.9.2": (), "0.10.3": (), "0.14.0": ()}),
    *_of("tensorflow", "tensorflow-cpu", {"2.16.2": (), "2.18.1": (), "2.21.0": ()}),
    Release("tensorflow", "2.21.0", ("tensorflow-cpu==2.21.0",), {"mode": "xla"}),
    *_of("jax", "jax", {"0.4.30": ("jaxlib==0.4.30",), "0.5.3": ("jaxlib==0.5.3",), "0.10.2": ()}),
    *_of("ncnn", "ncnn", {"1.0.20240820": (), "1.0.20260114": ()}),
    Release("torch", "2.13.0", ("torch==2.13.0",)),
    Release("torch", "2.13.0", ("torch==2.13.0",), {"compile": True}),
]


# Asking


def asked(random: int) -> list[Case]:
    """The judge's own cases, but for whole nets, and random ones, small and wide."""
    own = [one for one in cases(np.random.default_rng(0)) if one.subject not in LARGE]
    rng = np.random.default_rng(1)
    names = [*npkd.proofs.cases.OPS, *npkd.proofs.cases.LOSSES]
    drawn = [
        changed(
            random_case(name, rng, exact=exact, wide=wide),
            name=f"{name} at random{', wide' * wide}{', exact' * exact} {number}",
        )
        for wide in (False, True)
        for name in names
        for exact in (False, True)
        if not exact or name in EXACT
        for number in range(random)
    ]
    return own + [changed(one, subject=f"{one.subject} at random") for one in drawn]


def environment(folder: Path, release: Release) -> Path:
    """The interpreter of an environment with this version, which is made if it is not there."""
    name = "-".join(release.requirements).replace("/", "_").replace("=", "").replace("<", "to")
    path = folder / name
    python = path / "bin" / "python"
    if not (path / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
        needed = [*release.requirements, "numpy", *(["scipy"] * (release.framework in IN_HOUSE))]
        pip = [python, "-m", "pip", "install", "--quiet", *needed]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        (path / "complete").touch()
    return python


STANDALONE = """
    import sys
    sys.path[:0] = [{folder!r}, {here!r}]
    from answer import answer
    import answer_{framework} as module
    answer(module.{adapter}(**{settings!r}), {folder!r}, {results!r}, {only!r})
"""
BESIDE_NPKD = """
    import sys
    sys.path[:0] = [{root!r}]
    from npkd.validate.frameworks import adapter
    from npkd.validate.frameworks.answering import answers
    from npkd.validate.questions import exchange
    asked = adapter({framework!r}, **{settings!r})
    found = {{}}
    for case in exchange.load({folder!r}):
        if {only!r} is not None and case.name not in {only!r}:
            continue
        try:
            found[case.name] = answers(asked, case)[0]
        except Exception as error:
            print(f"not given: {{case.name}}: {{type(error).__name__}}: {{error}}")
    exchange.write_results({results!r}, found, asked.about())
"""


def answered(
    python: Path, release: Release, folder: Path, home: Path, names: Sequence[str]
) -> tuple[list[Path], list[str]]:
    """Have a version answer; returns files of results, and the names of cases in which it dies.

    Raises BadInput where it cannot be asked.
    """
    source = ROOT / "npkd" / "validate" / "frameworks" / f"{release.framework}.py"
    adapter = home / f"answer_{release.framework}.py"
    adapter.write_text(exchange.standalone(source.read_text("utf-8")), "utf-8")
    program = textwrap.dedent(BESIDE_NPKD if release.framework in IN_HOUSE else STANDALONE)

    def asked(results: Path, only: list[str] | None) -> bool:
        """Whether it lives to write the file."""
        text = program.format(
            folder=str(folder),
            here=str(home),
            root=str(ROOT),
            framework=release.framework,
            adapter=FRAMEWORKS[release.framework].adapter,
            settings=dict(release.settings),
            results=str(results),
            only=only,
        )
        done = subprocess.run(
            [python, "-I", "-c", text],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), **release.environ},
        )
        if done.returncode > 0:
            raise BadInput(f"{release.name}: {done.stderr.strip().splitlines()[-1:]}")
        results.with_suffix(".txt").write_text(done.stdout)
        return done.returncode == 0

    if asked(home / "results.npz", None):
        return [home / "results.npz"], []
    paths = [home / f"results-{number}.npz" for number in range(len(names))]
    with ThreadPoolExecutor() as pool:
        lived = list(pool.map(lambda path, name: asked(path, [name]), paths, names))
    dead = [name for name, lives in zip(names, lived, strict=True) if not lives]
    return [path for path, lives in zip(paths, lived, strict=True) if lives], dead


def judged(known: Sequence[Case], results: Sequence[Path]) -> Report:
    """The verdicts on files of results; what is not there was not asked for."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for path in results:
        found.update(exchange.read_results(path, known))
    pairs: list[tuple[Case, Arrays]] = [
        (changed(case, needed=case.needed & found[case.name].keys()), found[case.name])
        for case in known
        if case.name in found
    ]
    return judge(pairs, about=exchange.read_about(results[0]))


# Telling


def row(name: str, kept: Mapping[str, Any]) -> list[str]:
    """A version in the table: tensors, verdicts, the operations with a bug, and deadly ones."""
    counts = kept["counts"]
    wrong = Counter(one["op"] for one in kept["verdicts"] if one["verdict"] == BUG)
    dies = Counter(case.split()[0] for case in kept["dies"])
    where = [f"{op} {count}" for op, count in wrong.items()]
    where += [f"{op} {count}, in which it dies" for op, count in dies.items()]
    numbers = (sum(counts.values()), *(counts[kind] for kind in KINDS))
    return [name, *(f"{number:,}" for number in numbers), ", ".join(where) or "–"]


def kept_of(release: Release) -> Path:
    return KEPT / f"{release.name.replace(' ', '-')}.json"


KINDS = (CONSISTENT, CONVENTION, UNPROVEN, BUG)
HEAD = ("framework", "tensors", *KINDS, "bugs in")
TABLE = KEPT.with_suffix(".md")
ABOVE = """# Released versions, asked blind

By `python -m benchmarks.verdicts.released --envs DIR --write`. The verdicts other than CONSISTENT
are in `released`, and [repros.md](repros.md) says what is behind each bug. Tensors that a version
does not have, or in whose operation it raises, are not counted: a version with few of them was
asked less.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts.released")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as onnxruntime, mlx 0.21 (all)")
    parser.add_argument("--envs", required=True, type=Path, metavar="DIR", help="environments")
    parser.add_argument("--random", type=int, default=10, metavar="N", help="cases (10)")
    parser.add_argument("--write", action="store_true", help=f"keep the verdicts in {KEPT.name}")
    args = parser.parse_args()
    chosen = [
        one
        for one in RELEASES
        if not args.names or any(one.name.startswith(name) for name in args.names)
    ]
    work = args.envs.resolve() / "answers"
    scratch = tempfile.TemporaryDirectory()  # until the end
    folder = Path(scratch.name, "cases")
    exchange.export(folder, asked(args.random))
    known = exchange.load(folder)
    print(figures.row(HEAD), figures.row(["---"] * len(HEAD)), sep="\n")
    for release in chosen:
        home = work / release.name.replace(" ", "-")
        home.mkdir(parents=True, exist_ok=True)
        try:
            python = environment(args.envs.resolve(), release)
            paths, dead = answered(python, release, folder, home, [one.name for one in known])
        except (BadInput, subprocess.SubprocessError) as error:
            print(f"{release.name}: not answered: {error}", flush=True)
            continue
        report = judged(known, paths)
        (home / "verdicts.txt").write_text(str(report))
        counts = Counter(one.verdict for one in report.verdicts)
        kept = {**as_json(report), "counts": {kind: counts[kind] for kind in KINDS}, "dies": dead}
        kept["verdicts"] = [one for one in kept["verdicts"] if one["verdict"] != CONSISTENT]
        print(figures.row(row(release.name, kept)), flush=True)
        if args.write:
            KEPT.mkdir(parents=True, exist_ok=True)
            text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
            kept_of(release).write_text(text, "utf-8")
    if args.write:
        known_ones = [one for one in RELEASES if kept_of(one).exists()]
        rows = [row(one.name, json.loads(kept_of(one).read_text("utf-8"))) for one in known_ones]
        table = "\n".join(figures.row(cells) for cells in (HEAD, ["---"] * len(HEAD), *rows))
        TABLE.write_text(f"{ABOVE}{table}\n", "utf-8")


if __name__ == "__main__":
    main()
