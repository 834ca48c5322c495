"""The command `npkd` and the names of its parts, each in `command.py` of the room that it is of.

What they share is in `commands`. A part is imported when it is asked for, as that takes a while.
"""

import argparse
import inspect
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import NamedTuple

import npkd
from npkd import __version__, commands
from npkd.commands import Parser, require_names, say
from npkd.files import one_line


class Part(NamedTuple):
    """A command: where its arguments are added, "module:function", and what help says of it."""

    place: str
    help: str
    description: str


PARTS = {
    "distill": Part(
        "npkd.distill.command:add_distill",
        "train a large CNN, distil it into a small one, and report",
        "Train the large CNN from labels, distil it into the small one that sees the images at "
        "half the resolution, and compare both with a small CNN trained from labels alone; or the "
        "same with nets that make images of twice the resolution. Without arguments: on 5,000 "
        "bundled MNIST digits, in about a minute and a half. A value in brackets is that of the "
        "default preset.",
    ),
    "report": Part(
        "npkd.distill.command:add_report",
        "make the page and the picture of a finished run again",
        "Make report.html, the story of a run on one page, and report.png again from the files of "
        "a finished run: report.json, samples.npz and the weights. Needs matplotlib (the extra "
        "app).",
    ),
    "predict": Part(
        "npkd.distill.command:add_predict",
        "the classes of new images, by the nets of a finished run",
        "Print of which class images are, and with which probability, by the nets of a finished "
        "run. They are prepared as that run's images were. An image that cannot be read is "
        "named, and the others are predicted; the exit status is 1 then.",
    ),
    "explore": Part(
        "npkd.explore.command:add",
        "a finished run as a page on which one touches the gradient",
        "Make explore.html of a finished run that classifies: a page that holds its two small "
        "nets. Choose an image or draw one, turn temperature and weight, and see the targets, the "
        "loss and its gradient; go backward through the layers cell by cell; take a step; watch a "
        "gradient being checked. What it computes is compared with npkd's own numbers.",
    ),
    "quantise": Part(
        "npkd.quantise.command:add",
        "make a net of a finished run one of eight-bit integers",
        "Make of a net of a finished run one with int8 weights and eight-bit outputs, in the "
        "semantics of ONNX, by the ranges that its outputs have for training images. Prints what "
        "that saves and what it costs on the test images: bytes, accuracy, images whose class is "
        "another one, how far outputs move, and which layer moves them.",
    ),
    "export": Part(
        "npkd.export.command:add",
        "write a net of a finished run for ONNX or PyTorch",
        "Write a net of a finished run as a model of ONNX, which other programs run, or as a "
        "module of PyTorch with its state_dict: of float32, or in eight bits as npkd quantise has "
        "made it. Needs onnx (the extra onnx), or torch.",
    ),
    "speed": Part(
        "npkd.export.speed:add",
        "measure how quick the nets of a finished run are",
        "Measure how long the large and the small net of a finished run take, and the small one in "
        "eight bits, by images at once and threads, in npkd "
        "and, where they are installed, in ONNX Runtime and PyTorch. Prints the tables, and puts "
        "them into report.json and report.html.",
    ),
    "gradcheck": Part(
        "npkd.proofs.command:add_gradcheck",
        "check every gradient of npkd, and every value, on this machine",
        "Check everything in npkd on random cases: values against the formula in scalar loops, "
        "backward passes against the complex step (1e-14 along a random direction, 1e-13 entry by "
        "entry, and what rounding was measured to do), the contract of every operation, and whole "
        "updates against derivatives taken without any backward pass. Prints a row for each "
        "subject: its checks, the random cases that each was run on, the worst relative error of "
        "values and of gradients, the smallest relative fault of a gradient that every case would "
        "have seen, and where the worst gradient was. Exit status 1 if a gradient is wrong, or "
        "could not be judged; the output says which. To check a function of your own, see "
        "npkd.gradcheck.",
    ),
    "losses": Part(
        "npkd.cli:add_losses",
        "how other implementations have a distillation loss, and by which factor they differ",
        "Print who has which loss how: by which factor their value and gradient differ from npkd's "
        "default at the same temperature T, and the arguments with which npkd gives theirs. B is "
        "the batch size, C the number of classes, N the number of entries that are compared; – is "
        "another loss, which no factor leads to. With names, also what each loss is: its formula, "
        "and the derivation of its gradient.",
    ),
    "models": Part(
        "npkd.zoo.command:add",
        "the nets that npkd distill takes by name, with parameters and multiply-adds",
        "List the nets that npkd distill --large NAME --small NAME takes: the document's two, and "
        "those of the field's distillation code, by whose names their weights load. Parameters "
        "and multiply-adds are of one image of three channels.",
    ),
    "study": Part(
        "npkd.study.command:add",
        "when does distillation help? Many runs, means, and intervals of the differences",
        "Train the small net under each of several settings, with several seeds, and "
        "compare each to the small net that learns from labels alone, with the same first weights "
        "and as many updates unless the study says otherwise: means with 95 % intervals for such "
        "seeds and images, and which settings beat it, adjusted for their number. What is studied "
        "is in a TOML file; npkd study --print shows one, to be changed at will. Writes "
        "study.html, study.png and study.json. Exit status 1 if a training failed.",
    ),
    "validate": Part(
        "npkd.validate.command:add",
        "judge whether a framework computes distillation rightly",
        "Judge whether a framework computes distillation rightly: each op and loss of "
        "npkd with its gradients, the update, how data are prepared, whole nets, and distillation "
        "itself. No tolerance is guessed: how far rounding can take each number, whatever the "
        "order of summation, is proved, and what is farther off is a BUG, with its cause if a "
        "known one fits. Other tensors are CONSISTENT, with a precision that is named, or "
        "CONVENTION or UNPROVEN, with the reason. Exit status 1 if there is a BUG, if a tensor "
        "that must be given is not, or if nothing was judged. To judge a model of your own in "
        "Python, see npkd.validate: its arithmetic is judged, not whether its layers are the ones "
        "that were meant.",
    ),
    "accuracy": Part(
        "npkd.validate.accuracy.command:add",
        "measure how exact a framework's operators are, in ulp",
        "Measure how exact the operators of a framework are, in float32, beside float64: the "
        "largest and the typical error in ulp, with the argument that is worst, of functions of "
        "one number on a grid over all float32 numbers, of softmax, losses and their gradients, "
        "pools, and sums of products by their length; and what is wrong otherwise: 0 too early, "
        "subnormal numbers taken for 0, results out of range, NaN. A table for one framework, or "
        "one over many, from the files that --out writes.",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of those in `npkd.commands`."""
    return run(parsed(argv))


def run(args: argparse.Namespace) -> int:
    """Run the command that these arguments ask for."""
    return commands.run(args.run, args)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, with what of npkd the command needs imported."""
    parser = Parser(
        prog="npkd",
        description="CNN knowledge distillation in pure NumPy. Each command has a --help of its "
        "own; npkd distill, without arguments, is a good start.",
    )
    parser.add_argument("--version", action="version", version=f"npkd {__version__}")
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = sys.argv[1:] if argv is None else argv
    for name, part in PARTS.items():
        of_part = actions.add_parser(name, help=part.help, description=part.description)
        if name in given:
            module, _, add = part.place.partition(":")
            getattr(import_module(module), add)(of_part)
    commands.prepare_streams()
    for word in takewhile(lambda word: word != "--", given):
        if word.startswith("-") and "." in word and os.path.lexists(word):
            parser.error(f"{word} begins as options do; for the file of this name write ./{word}")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if value == [] and name != "names":  # what some versions of argparse make of --name=--
            parser.error(f"--{name.replace('_', '-')}: expected a value")
    if hasattr(args, "resume"):
        command = shlex.join(["npkd", *given, *["--resume"] * (not args.resume)])
        shown = one_line(command) == command  # and so can be copied from the terminal
        args.to_resume = command if shown else "the same arguments and --resume"
    return args


def add_losses(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd losses."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which: {', '.join(_names_of_losses())} (all of them)",
    )
    parser.set_defaults(run=_losses)


def _names_of_losses() -> list[str]:
    return [name for name in npkd.losses.__all__ if name != "conventions"]


def _losses(args: argparse.Namespace) -> int:
    """Print the table, or the losses named in full."""
    names = _names_of_losses()
    require_names(args.names, names)
    for name in args.names:
        text = inspect.getdoc(getattr(npkd.losses, name)) or ""
        say(f"losses.{name}", "", *text.split("\n"), "")
    say(f"{'loss':19}{'factor':12}who has it so; below, the arguments that give it, and a note")
    for entry in npkd.losses.conventions():
        if entry.loss in (args.names or names):
            say(f"{entry.loss:19}{entry.factor or '–':12}{entry.where}")
            details = [part for part in (str(entry), entry.note) if part]
            if details:
                say(" " * 31 + "; ".join(details))
    return 0
