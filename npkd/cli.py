"""The command `npkd` and the names of its parts, each in `command.py` of the room that it is of.

What they share is in `commands`.
"""

import argparse
import inspect
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from npkd import __version__, commands, losses
from npkd.commands import Parser, require_names, say
from npkd.distill.command import add_distill, add_report
from npkd.files import one_line
from npkd.proofs.command import add_gradcheck


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of those in `npkd.commands`."""
    parser = Parser(
        prog="npkd",
        description="CNN knowledge distillation in pure NumPy. Each command has a --help of its "
        "own; npkd distill, without arguments, is a good start.",
    )
    parser.add_argument("--version", action="version", version=f"npkd {__version__}")
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_distill(actions)
    add_report(actions)
    add_gradcheck(actions)
    _add_losses(actions)
    given = sys.argv[1:] if argv is None else argv
    _add_study(actions, given)
    _add_validate(actions, given)
    commands.prepare_streams()
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if value == [] and name != "names":  # what some versions of argparse make of --name=--
            parser.error(f"--{name.replace('_', '-')}: expected a value")
    if hasattr(args, "resume"):
        command = shlex.join(["npkd", *given, *["--resume"] * (not args.resume)])
        shown = one_line(command) == command  # and so can be copied from the terminal
        args.to_resume = command if shown else "the same arguments and --resume"
    return commands.run(args.run, args)


def _add_losses(actions: Any) -> None:
    parser = actions.add_parser(
        "losses",
        help="how other implementations have a distillation loss, and by which factor they differ",
        description="Print who has which loss how: by which factor their value and gradient differ "
        "from npkd's default at the same temperature T, and the arguments with which npkd gives "
        "theirs. B is the batch size, C the number of classes, N the number of entries that are "
        "compared; – is another loss, which no factor leads to. With names, also what each loss "
        "is: its formula, and the derivation of its gradient.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(_LOSSES)} (all of them)"
    )
    parser.set_defaults(run=_losses)


_LOSSES = [name for name in losses.__all__ if name != "conventions"]


def _losses(args: argparse.Namespace) -> int:
    """Print the table, or the losses named in full."""
    require_names(args.names, _LOSSES)
    for name in args.names:
        text = inspect.getdoc(getattr(losses, name)) or ""
        say(f"losses.{name}", "", *text.split("\n"), "")
    say(f"{'loss':19}{'factor':12}who has it so; below, the arguments that give it, and a note")
    for entry in losses.conventions():
        if entry.loss in (args.names or _LOSSES):
            say(f"{entry.loss:19}{entry.factor or '–':12}{entry.where}")
            details = [part for part in (str(entry), entry.note) if part]
            if details:
                say(" " * 31 + "; ".join(details))
    return 0


def _add_package(actions: Any, given: Sequence[str], name: str, **texts: str) -> None:
    """A command in a package of its own, imported only if asked for: that takes a while."""
    parser = actions.add_parser(name, **texts)
    if name in given:
        import_module(f"npkd.{name}.command").add(parser)


def _add_study(actions: Any, given: Sequence[str]) -> None:
    """Many runs, and what they have in common."""
    _add_package(
        actions,
        given,
        "study",
        help="when does distillation help? Many runs, means, and intervals of the differences",
        description="Train the small net under each of several settings, with several seeds, and "
        "compare each to the small net that learns from labels alone, with the same first weights "
        "and as many updates: mean, 95 % interval, and the difference, seed by seed. What is "
        "studied is in a TOML file; npkd study --print shows the one that comes with npkd, to be "
        "changed at will. Writes study.json and study.png. Exit status 1 if a training failed.",
    )


def _add_validate(actions: Any, given: Sequence[str]) -> None:
    """The judge."""
    _add_package(
        actions,
        given,
        "validate",
        help="judge whether a framework computes distillation rightly",
        description="Judge whether a framework computes distillation rightly: each op and loss of "
        "npkd with its gradients, the update, how data are prepared, whole nets, and distillation "
        "itself. No tolerance is guessed: how far rounding can take each number, whatever the "
        "order of summation, is proved, and what is farther off is a BUG, with its cause if a "
        "known one fits. Other tensors are CONSISTENT, with a precision that is named, or "
        "CONVENTION or UNPROVEN, with the reason. Exit status 1 if there is a BUG, if a tensor "
        "that must be given is not, or if nothing was judged. To judge a model of your own in "
        "Python, see npkd.validate: its arithmetic is judged, not whether its layers are the ones "
        "that were meant.",
    )
