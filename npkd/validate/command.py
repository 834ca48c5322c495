"""The command `npkd validate`: does a framework compute distillation rightly?

Frameworks are imported only when they are asked about.
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npkd.commands import say, say_where
from npkd.files import BadInput, one_line, require_new, writing_to
from npkd.validate import frameworks
from npkd.validate.bounds.rounding import ARITHMETICS, BFLOAT16
from npkd.validate.frameworks import answering, settings
from npkd.validate.frameworks.adapter import NotGiven
from npkd.validate.judging import page
from npkd.validate.judging.judge import judge
from npkd.validate.judging.verdicts import Report
from npkd.validate.program import Arrays, Case
from npkd.validate.questions import exchange
from npkd.validate.questions.described import behind_gradients
from npkd.validate.questions.subjects import cases, subjects, with_kinds


def add(parser: argparse.ArgumentParser) -> None:
    """Add what `npkd validate` can do to its parser."""
    parser.add_argument("--list", action=_List, help="say which frameworks are installed, and exit")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for package, about in frameworks.FRAMEWORKS.items():
        _add_framework(actions, package, about)
    _add_export(actions)
    _add_check(actions)


class _List(argparse.Action):
    """Print the frameworks with their versions, none imported, and exit."""

    def __init__(self, option_strings: Any, dest: str, help: str):
        super().__init__(option_strings, dest, nargs=0, help=help, default=argparse.SUPPRESS)

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        for action in frameworks.FRAMEWORKS:
            parts = [f"{name} {version}" for name, version in frameworks.versions(action).items()]
            if missing := frameworks.missing(action):
                hint = frameworks.how_to_install(action)
                parts.append(f"not installed: {', '.join(missing)} ({hint})")
            say(f"{action:12}{', '.join(parts)}")
        parser.exit()


def _add_action(actions: Any, name: str, run: Any, **texts: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, **texts)
    parser.set_defaults(run=run, command=f"validate {name}")
    return parser


def _add_cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help=f"what is computed, an op with all its kinds: {', '.join(subjects())} (everything)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the numbers computed with (0)"
    )


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="exit status 1 if any is UNPROVEN")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for verdicts.json and verdicts.html, the same on a page with pictures",
    )


def _add_dtype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        choices=tuple(ARITHMETICS),
        default="float32",
        help="what the framework is asked to compute in (float32)",
    )


def _judged(
    pairs: Iterable[tuple[Case, Arrays]],
    args: argparse.Namespace,
    about: Mapping[str, Any],
    refused: Iterable[str] = (),
    left: Iterable[str] = (),
    ulp: float | None = None,
) -> int:
    """Judge, print, and write the page if asked for. Status 1 if anything is wrong.

    refused: operations that raised something, with the framework's reason. left: what it does not
    have. ulp: see `judge`.
    """
    try:
        report = judge(pairs, precision=args.dtype, ulp=ulp, about=about)
    except ValueError as error:  # an operation that npkd computes, but not its bound
        raise BadInput(_without_prefix(error)) from error
    report = replace(report, unjudged=(*report.unjudged, *refused), left=tuple(left))
    say(*str(report).split("\n"))
    if args.out:
        _write(Path(args.out), report)
    return 0 if (report.proved if args.strict else report.ok) else 1


def _write(folder: Path, report: Report) -> None:
    with writing_to(folder):
        why = page.write(folder, report)
    say(f"made {folder / 'verdicts.html'} and verdicts.json")
    if why:
        say(f"note: verdicts.html has no pictures: {why}; the same command makes them")


def _chosen(args: argparse.Namespace, dtype: str = "float32") -> list[Case]:
    """The cases that were asked for, as a framework has them that stores this dtype."""
    if args.seed < 0:
        raise BadInput(f"--seed is {args.seed}, expected a whole number from 0")
    try:
        names = with_kinds(args.names) if args.names else None
        return list(_stored_in(dtype, cases(np.random.default_rng(args.seed), names)))
    except ValueError as error:
        raise BadInput(f"--names: {_without_prefix(error)}") from error


def _stored_in(dtype: str | None, given: Iterable[Case]) -> Iterator[Case]:
    """Cases with their numbers as they are stored in this dtype; without those that it cannot hold.

    In float16 and bfloat16 results are rounded even where sums are exact, so nothing is exact.
    """
    for case in given:
        if dtype not in ("float16", "bfloat16"):
            yield case
            continue
        inputs = {
            name: _rounded(array, dtype) if array.dtype.kind == "f" else array
            for name, array in case.inputs.items()
        }
        if all(np.all(np.isfinite(array)) for array in inputs.values()):
            yield replace(case, inputs=inputs, exact=False)


def _rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers rounded to float16 or bfloat16, as float32."""
    if dtype == "bfloat16":
        return BFLOAT16.round(array.astype(np.float64)).astype(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def _without_prefix(error: ValueError) -> str:
    return str(error).removeprefix("validate: ")


# Frameworks


def _add_framework(actions: Any, package: str, about: frameworks.Framework) -> None:
    left = f" Left as it comes is {about.left}: verdicts name the precision." if about.left else ""
    parser = _add_action(
        actions,
        package,
        _framework,
        help=f"judge the {about.name} that is installed",
        description=f"Compute everything in the {about.name} that is installed, and judge "
        f"it.{left}",
    )
    parser.set_defaults(framework=package)
    settings.add(parser, package)
    _add_dtype(parser)
    _add_cases(parser)
    _add_out(parser)


def _framework(args: argparse.Namespace) -> int:
    """Have a framework compute what was asked for, and judge it.

    On a terminal it shows where it is.
    """
    own = settings.chosen(args, args.framework)
    asked = frameworks.adapter(args.framework, dtype=args.dtype, **own)
    about = asked.about()
    title = f"{about['framework']} on {about['device']}, {args.dtype}\n{about['flags']}"
    about |= {"title": title, "precision": args.dtype, "seed": args.seed}
    pairs, refused = [], []
    left: Counter[str] = Counter()
    chosen = _chosen(args, args.dtype)
    for number, case in enumerate(chosen, 1):
        say_where(f"{number} of {len(chosen)}: {case.name}")
        found: Arrays = {}
        without: answering.Left = []
        try:
            with warnings.catch_warnings(action="ignore"):  # verdicts are the judge's
                found, without = answering.answers(asked, case)
        except Exception as error:  # whatever a framework raises, the other cases are judged
            refused.append(f"{case.name}: {type(error).__name__}: {error}")
        for operation, why in without:
            if isinstance(why, NotGiven):
                left[str(why)] += 1
                not_had = set(operation.outputs.values()) - found.keys()
                case = replace(case, needed=case.needed - not_had)
            else:
                refused.append(f"{case.name}: {operation.name}: {type(why).__name__}: {why}")
        pairs.append((case, found))
    say_where()
    lines = [f"{why} ({count} operation{'s' * (count > 1)})" for why, count in left.most_common()]
    return _judged(pairs, args, about, refused, lines, asked.ulp())


# Files


def _add_export(actions: Any) -> None:
    parser = _add_action(
        actions,
        "export",
        _export,
        help="write what is to be computed to files, for a framework in any language",
        description="Write what is to be computed, and the numbers to compute it with, to a new "
        "folder, for a framework in any language: manifest.json says for each case which "
        "operations make which tensors of which, inputs.npz and inputs.safetensors hold the "
        "numbers. Write the results to one .npz or .safetensors file, under the keys CASE/TENSOR, "
        "and have it judged by npkd validate check.",
    )
    parser.add_argument("folder", metavar="DIR", help="a folder that is empty or not there yet")
    _add_forward(parser)
    _add_cases(parser)


def _add_forward(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--forward",
        action="store_true",
        help="need no gradients, nor what comes behind them: of an engine that only infers",
    )


def _needing_forward(case: Case) -> Case:
    return replace(case, needed=case.needed - behind_gradients(case))


def _export(args: argparse.Namespace) -> int:
    chosen, folder = _chosen(args), Path(args.folder)
    if args.forward:
        chosen = [_needing_forward(case) for case in chosen]
    require_new(folder)
    exchange.export(folder, chosen)
    tensors = sum(len(case.needed) for case in chosen)
    say(f"{len(chosen)} cases, which ask for {tensors:,} tensors, are in {folder}")
    return 0


def _add_check(actions: Any) -> None:
    parser = _add_action(
        actions,
        "check",
        _check,
        help="judge results from a file",
        description="Judge the results that a framework computed for the cases in a folder made by "
        "npkd validate export. Cases without results are left out; of the others, all tensors that "
        "the manifest says are needed must be there.",
    )
    parser.add_argument("folder", metavar="DIR", help="the folder with the cases")
    parser.add_argument("results", metavar="RESULTS", help="an .npz or .safetensors file")
    parser.add_argument(
        "--dtype",
        choices=tuple(ARITHMETICS),
        help="what the framework was asked to compute in (what each case's results are stored in)",
    )
    _add_forward(parser)
    _add_out(parser)


def _check(args: argparse.Namespace) -> int:
    asked = exchange.load(args.folder)
    found = exchange.read_results(args.results, asked)
    if not found:
        raise BadInput(f"{args.results}: holds no results, expected some of {args.folder}'s cases")
    precision = args.dtype or _stored(found)
    title = f"{args.results}: results for {len(found)} of the {len(asked)} cases in {args.folder}"
    by = exchange.read_about(args.results)
    about = by | {
        "title": "\n".join(map(one_line, [title, *([", ".join(by.values())] if by else [])]))
    }
    about |= {"precision": precision} if precision else {}
    asked = [_needing_forward(case) if args.forward else case for case in asked]
    given = _stored_in(precision, (case for case in asked if case.name in found))
    not_had = exchange.read_left(args.results)
    pairs = []
    left: Counter[str] = Counter()
    for case in given:
        without = {t: not_had[key] for t in case.needed if (key := f"{case.name}/{t}") in not_had}
        left.update(without.values())
        pairs.append((replace(case, needed=case.needed - without.keys()), found[case.name]))
    lines = [f"{why} ({count} tensor{'s' * (count > 1)})" for why, count in left.most_common()]
    return _judged(pairs, args, about, left=lines)


def _stored(found: Mapping[str, Arrays]) -> str | None:
    """The precision of all results, if it is one."""
    kinds = {array.dtype.name for arrays in found.values() for array in arrays.values()}
    precisions = kinds & ARITHMETICS.keys()
    return precisions.pop() if len(precisions) == 1 else None
