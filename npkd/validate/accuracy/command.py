"""The command `npkd accuracy`: how exact are a framework's operators?

Frameworks are imported only when they are asked.
"""

import argparse
from pathlib import Path
from typing import Any

from npkd.commands import require_names, say, say_where
from npkd.files import BadInput, require_new
from npkd.validate import frameworks
from npkd.validate.accuracy import asking, files, page, table
from npkd.validate.accuracy.asking import NPKD, Asked
from npkd.validate.accuracy.grid import FINE
from npkd.validate.accuracy.measuring import Accuracy, measure
from npkd.validate.accuracy.questions import Question, ops, questions
from npkd.validate.frameworks import settings

COARSEST = 6


def add(parser: argparse.ArgumentParser) -> None:
    """Add what `npkd accuracy` can do to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="NAME")
    for name, about in frameworks.FRAMEWORKS.items():
        _add_framework(actions, name, about.name)
    _add_framework(actions, NPKD, "npkd, in NumPy")
    _add_export(actions)
    _add_check(actions)
    _add_table(actions)


def _add_action(actions: Any, name: str, run: Any, **texts: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, **texts)
    parser.set_defaults(run=run, command=f"accuracy {name}")
    return parser


def _add_questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"operators: {', '.join(ops())} (all of them)",
    )
    parser.add_argument(
        "--fine",
        type=int,
        default=FINE,
        metavar="N",
        help=f"2^N numbers of one sign between powers of two, where functions vary ({FINE})",
    )


def _questions(args: argparse.Namespace) -> list[Question]:
    require_names(args.names, ops())
    if not COARSEST <= args.fine <= 23:
        raise BadInput(f"--fine is {args.fine}, expected {COARSEST} to 23, all there are")
    return questions(args.names, args.fine)


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        nargs="?",
        const=".",
        metavar="FILE",
        help="also write all figures, as JSON; in a folder, or without FILE, to NAME-VERSION.json; "
        "those of several to a folder",
    )


# Frameworks


def _add_framework(actions: Any, action: str, name: str) -> None:
    parser = _add_action(
        actions,
        action,
        _framework,
        help=f"measure {name}",
        description=f"Measure how exact the operators of {name} are, in float32: functions on some "
        "2.3 million numbers, softmax, losses and their gradients, pools, and sums of products by "
        "their length, in about a minute.",
    )
    parser.set_defaults(framework=action)
    parser.add_argument(
        "others", nargs="*", default=(), metavar="NAME", help="further frameworks, as they come"
    )
    if action != NPKD:
        settings.add(parser, action)
    _add_questions(parser)
    _add_out(parser)


def _framework(args: argparse.Namespace) -> int:
    """Measure the frameworks, and print the table of each, or of all side by side."""
    require_names(args.others, [*frameworks.FRAMEWORKS, NPKD])
    own = settings.chosen(args, args.framework) if args.framework != NPKD else {}
    asked = [asking.asked(args.framework, **own), *map(asking.asked, args.others)]
    return _shown(asked, _questions(args), args)


def _shown(asked: list[Asked], some: list[Question], args: argparse.Namespace) -> int:
    if args.out is not None and len(asked) > 1 and not Path(args.out).is_dir():
        raise BadInput(
            f"--out {args.out}: expected a folder for the figures of {len(asked)} frameworks"
        )
    every = []
    for one in asked:
        every.append(measure(some, one.ask, one.about, say_where))
        say_where()
    for accuracy in every:
        _say(accuracy)
        if args.out is not None:
            say("", f"all figures are in {files.write(Path(args.out), accuracy)}")
    if len(every) > 1:
        say("", *table.aligned(table.cells(every)))
    return 0


def _say(accuracy: Accuracy) -> None:
    about = accuracy.about
    title = " on ".join(about[name] for name in ("framework", "device") if name in about)
    say(title, *([about["flags"]] if "flags" in about else []), "")
    say(*table.of_one(accuracy))
    if wrong := table.faults_of_one(accuracy):
        say("", *wrong)
    say("", f"{table.legend([accuracy])} {table.off([accuracy])}")


# Files


def _add_export(actions: Any) -> None:
    parser = _add_action(
        actions,
        "export",
        _export,
        help="write what is to be computed to files, for a version that lives elsewhere",
        description="Write what is to be computed to a new folder, for a framework in an "
        "environment without npkd, or in another language: in the same form as npkd validate "
        "export, with answer.py beside it, which needs NumPy and an adapter. The file of results "
        "is measured by npkd accuracy check.",
    )
    parser.add_argument("folder", metavar="DIR", help="a folder that is empty or not there yet")
    _add_questions(parser)


def _export(args: argparse.Namespace) -> int:
    some, folder = _questions(args), Path(args.folder)
    require_new(folder)
    files.export(folder, some)
    say(f"{len(some)} cases are in {folder}")
    return 0


def _add_check(actions: Any) -> None:
    parser = _add_action(
        actions,
        "check",
        _check,
        help="measure results from a file",
        description="Measure what a framework computed for the cases in a folder made by npkd "
        "accuracy export, with the same --names and --fine.",
    )
    parser.add_argument("folder", metavar="DIR", help="the folder with the cases")
    parser.add_argument("results", metavar="RESULTS", help="an .npz or .safetensors file")
    _add_questions(parser)
    _add_out(parser)


def _check(args: argparse.Namespace) -> int:
    some = _questions(args)
    return _shown([files.answers(args.folder, args.results, some)], some, args)


def _add_table(actions: Any) -> None:
    parser = _add_action(
        actions,
        "table",
        _table,
        help="one table over several files of figures",
        description="Print one table, operators by frameworks, from files that --out has written; "
        "with --out, write it to a folder, as accuracy.md, and on a page with all figures, "
        "accuracy.html.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="figures, as --out wrote them")
    parser.add_argument("--out", metavar="DIR", help="folder for accuracy.md and accuracy.html")


def _table(args: argparse.Namespace) -> int:
    every = [files.read(path) for path in args.files]
    if args.out is None:
        say(*table.markdown(every).splitlines())
        return 0
    page.write(args.out, every)
    say(f"accuracy.md and accuracy.html are in {args.out}")
    return 0
