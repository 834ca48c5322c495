"""The command `npkd`: its arguments, its progress, its files; see `commands` for what all share.

Its parts `npkd validate` and `npkd study` are in `command.py` of these packages.
"""

import argparse
import inspect
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from npkd import (
    __version__,
    checkpoint,
    commands,
    data,
    distill,
    evaluate,
    losses,
    objectives,
    page,
    proofs,
    report,
    tasks,
    threads,
)
from npkd.commands import Parser, require_names, say, set_threads, stopping
from npkd.files import BadInput, Damaged, writing_to

try:
    from tqdm import tqdm
except (ImportError, ValueError):  # not installed, or its settings in the environment are wrong
    tqdm = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of those in `npkd.commands`."""
    parser = Parser(
        prog="npkd",
        description="CNN knowledge distillation in pure NumPy. Each command has a --help of its "
        "own; npkd distill, without arguments, is a good start.",
    )
    parser.add_argument("--version", action="version", version=f"npkd {__version__}")
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_distill(actions)
    _add_report(actions)
    _add_gradcheck(actions)
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
        args.to_resume = shlex.join(["npkd", *given, *["--resume"] * (not args.resume)])
    return commands.run(args.run, args)


def _add_distill(actions: Any) -> None:
    parser = actions.add_parser(
        "distill",
        help="train a large CNN, distil it into a small one, and report",
        description="Train the large CNN from labels, distil it into the small one that sees the "
        "images at half the resolution, and compare both with a small CNN trained from labels "
        "alone; or the same with nets that make images of twice the resolution. Without "
        "arguments: on 5,000 bundled MNIST digits, in about a minute and a half. "
        "A value in brackets is that of the default preset.",
    )
    tuned = distill.PRESETS["default"]

    def of_photographs(setting: str) -> str:
        return f"{getattr(tuned, setting)}, on CIFAR-10 {getattr(distill.PHOTOGRAPHS, setting)}"

    def by_data(setting: str) -> str:
        resolving = getattr(distill.SUPER_RESOLUTION, setting)
        return f"{of_photographs(setting)}; to super-resolve {resolving}"

    say = parser.add_argument
    say(
        "--data",
        default="mnist5k",
        metavar="PATH",
        help="mnist5k (bundled; the default), a folder with CIFAR-10 (binary or python layout), "
        "a folder of images by class, or images and labels in an .npz file or a folder of .npy "
        "files",
    )
    say("--task", choices=tuple(tasks.TASKS), help=f"what the nets learn ({tuned.task})")
    say(
        "--preset",
        choices=tuple(distill.PRESETS),
        default=tuned.preset,
        help="default: tuned; document: plain SGD, lr 0.01, 10 epochs, no augmentation",
    )
    say(
        "--teacher-input",
        choices=("low", "high"),
        help="to classify, what the large net sees when it teaches: x_low brought back to its "
        f"size, or x_high ({of_photographs('teacher_input')})",
    )
    say(
        "--teacher-views",
        choices=("high", "both"),
        help="to classify, what the large net is trained on: x_high, or x_high and x_low brought "
        f"back to its size in turn ({of_photographs('teacher_views')})",
    )
    say(
        "--label-weight",
        "--blend",
        type=float,
        metavar="X",
        help="from 0 to 1; the distilled net's loss is X times the one to the truth (cross-entropy "
        "with the labels or, super-resolving, L2 to the true images), and 1 − X times those to the "
        f"large net ({tuned.label_weight})",
    )
    say(
        "--loss",
        action=_AddLoss,
        metavar="NAME",
        help="a loss to the large net; may be repeated, the losses are then added: "
        f"{', '.join(objectives.KINDS)} (l2). See npkd losses",
    )
    say(
        "--loss-option",
        action=_AddLossOption,
        metavar="KEY=VALUE",
        help="an argument of the --loss before it, such as temperature=2; or weight=X, what it is "
        "multiplied by, student=LAYER and teacher=LAYER, what it is on (LAYER,LAYER for two), "
        "standardized=yes, logits brought to mean 0 and deviation 1 first",
    )
    for option, what, value in (
        ("--large-epochs", "epochs of the large net", by_data("large_epochs")),
        ("--epochs", "epochs of each small net", by_data("epochs")),
        ("--batch-size", "images for one update", tuned.batch_size),
    ):
        say(option, type=int, metavar="N", help=f"{what} ({value})")
    for option, what, rate in (
        ("--learning-rate", "the distilled small net", by_data("learning_rate")),
        ("--large-learning-rate", "the large net", by_data("large_learning_rate")),
        ("--labels-learning-rate", "the other small net", by_data("labels_learning_rate")),
    ):
        say(option, type=float, metavar="X", help=f"highest learning rate of {what} ({rate})")
    say(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="shift training images at random, and flip them where that makes sense; to "
        "super-resolve, only flip (yes)",
    )
    say("--threads", type=int, metavar="N", help="worker threads (one for each core)")
    say("--seed", type=int, metavar="N", help=f"of all randomness ({tuned.seed})")
    say(
        "--out",
        metavar="DIR",
        help="new folder for the results (runs/NAME-SEED, or runs/NAME-super-resolve-SEED)",
    )
    say(
        "--resume",
        action="store_true",
        help="go on with the unfinished run in that folder, started with the same arguments; it "
        "ends with the same bits as if it had never been stopped",
    )
    say(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="write a checkpoint after every N updates too, not only after each epoch",
    )
    parser.set_defaults(run=_distill)


class _AddLoss(argparse.Action):
    """Begin another loss, without options yet."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        namespace.loss = [*(namespace.loss or []), (str(value), [])]


class _AddLossOption(argparse.Action):
    """Give the loss before it an option."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        if not namespace.loss:
            parser.error(f"{option} {value}: there is no --loss NAME before it")
        namespace.loss[-1][1].append(str(value))


def _distill(args: argparse.Namespace) -> int:
    """Check everything that can be known beforehand, run, and write the results."""
    dataset = data.load(args.data)
    task = args.task or "classify"
    if task == "super-resolve" and args.teacher_views:
        raise BadInput("--teacher-views means nothing to nets that super-resolve: they take x_low")
    try:
        preset = distill.preset(args.preset, dataset, task)
        given = {
            name: value
            for name, value in vars(args).items()
            if hasattr(preset, name) and name not in ("preset", "loss") and value is not None
        }
        if args.loss:
            given["loss"] = tuple(objectives.term(name, pairs) for name, pairs in args.loss)
        config = replace(preset, **given)
    except ValueError as error:
        setting, problem = str(error).split(" ", 1)
        raise BadInput(f"--{setting.replace('_', '-')} {problem}") from error
    set_threads(args.threads)
    of_task = "" if config.task == "classify" else f"{config.task}-"
    out = args.out or f"runs/{dataset.name}-{of_task}{config.seed}"
    # A diverging net overflows before its loss is seen to: that one line is enough.
    with (
        checkpoint.run_folder(out, args.resume) as folder,
        threads.one_blas_thread(),
        np.errstate(all="ignore"),
    ):
        checkpoints = _Checkpoints(folder, config, dataset, args)
        run = checkpoints.run(args.resume)
        try:
            finished = _follow(run, dataset, checkpoints)
        except distill.Diverged as error:
            raise BadInput(str(error)) from error
        _write(folder, finished)
    return 0


class _Checkpoints:
    """The checkpoints of a run: when they are written, what they hold, and where it goes on.

    Raises BadInput if one cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        config: distill.Config,
        dataset: data.Dataset,
        args: argparse.Namespace,
    ):
        if args.checkpoint_every is not None and args.checkpoint_every < 1:
            raise BadInput(
                f"--checkpoint-every is {args.checkpoint_every}, expected a whole number from 1"
            )
        self.folder, self.config, self.dataset = folder, config, dataset
        self.every = args.checkpoint_every
        self.to_resume = args.to_resume
        self.about: dict[str, Any] = {
            "config": json.loads(json.dumps(asdict(config))),  # as a checkpoint gives it back
            "name": dataset.name,
            "data": dataset.digest(),
        }

    def run(self, resume: bool) -> distill.Run:
        """The run, from the newest whole checkpoint on if there is one to go on from.

        Raises BadInput, and touches nothing, if there are some and none is whole, or if one cannot
        be used for another reason than that it is damaged.
        """
        damaged = []
        for path in checkpoint.found(self.folder) if resume else ():
            try:
                run = self._resumed(path)
            except Damaged as error:
                damaged.append(error)
                continue
            say(*(f"note: {error}" for error in damaged), f"going on from {path}")
            return run
        if damaged:
            raise BadInput(
                f"{damaged[0]}; no other checkpoint can be gone on from, and nothing is touched: "
                "give another --out, or take them away"
            )
        if resume:
            if checkpoint.results(self.folder):
                raise BadInput(
                    f"{self.folder}: holds results and no checkpoint that can be gone on from; "
                    "give another --out"
                )
            say(f"note: no checkpoint in {self.folder}: starting anew")
        try:
            return distill.Run(self.dataset, self.config)
        except ValueError as error:
            raise BadInput(f"--{error}") from error

    def _resumed(self, path: Path) -> distill.Run:
        about, arrays = checkpoint.load(path)
        try:
            state = about.pop("state")
            self._require_same(about)
            return distill.Run(self.dataset, self.config, distill.State(**state, arrays=arrays))
        except BadInput:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise BadInput(
                f"{path}: cannot be gone on from, and nothing is touched: {error}"
            ) from error

    def _require_same(self, about: dict[str, Any]) -> None:
        """Raise BadInput if the run in the folder has other settings or other data."""
        for name, value in self.about["config"].items():
            theirs = about["config"][name]
            if theirs != value:
                raise BadInput(
                    f"--{name.replace('_', '-')} is {value}, but the run in {self.folder} has "
                    f"{theirs}; go on with the same arguments, or give another --out"
                )
        if about["data"] != self.about["data"]:
            raise BadInput(
                f"--data: {self.dataset.name} is not what the run in {self.folder} was started "
                f"with ({about['name']}, or other images or labels); give another --out"
            )

    def after(self, event: distill.Event, run: distill.Run) -> None:
        """Write a checkpoint if one is due after this event."""
        every = self.every or math.inf
        due = isinstance(event, distill.Training) and (event.update.step + 1) % every == 0
        if due or isinstance(event, distill.Epoch):
            self.write(run)

    def write(self, run: distill.Run) -> None:
        """Write a checkpoint now."""
        state = vars(run.state())
        about = self.about | {"state": {k: v for k, v in state.items() if k != "arrays"}}
        try:
            checkpoint.save(self.folder, sum(state["updates"].values()), about, state["arrays"])
        except OSError as error:
            kept = checkpoint.found(self.folder)
            last = f"; the last good one is {kept[0].name}" if kept else ""
            raise BadInput(
                f"{self.folder}: a checkpoint cannot be written: {error.strerror or error}{last}"
            ) from error


def _follow(run: distill.Run, dataset: data.Dataset, checkpoints: _Checkpoints) -> distill.Finished:
    """Show the events of a run as they come; the last one is the result."""
    say(
        f"npkd {__version__}: {dataset.name}, {len(dataset.train_labels):,} images to "
        f"train and {len(dataset.test_labels):,} to test, "
        + (
            f"{threads.get_num_threads()} thread(s)"
            if threads.ThreadpoolController
            else "BLAS's threads"
        ),
        *_missing(),
    )
    bar = None
    with stopping() as stop:
        for event in run.steps():
            match event:
                case distill.Stage():
                    stop.at_once = event.number not in distill.TRAININGS  # the state stays as it is
                    say(f"step {event.number} of 6: {event.title}")
                case distill.Note():
                    say(f"    {event.text}")
                case distill.Training():
                    bar = bar or _Bar(event, report.names_of(run.config.task)[event.net])
                    bar.update(event)
                case distill.Epoch():
                    assert bar is not None
                    bar.epoch(event)
                    if event.epoch + 1 == event.epochs:
                        bar.close()
                        bar = None
            checkpoints.after(event, run)
            if stop.asked and not isinstance(event, distill.Finished):
                checkpoints.write(run)
            stop.stop_if_asked()
            if isinstance(event, distill.Finished):
                return event
    raise AssertionError("a run ends with Finished")


def _missing() -> list[str]:
    """What extras would give that are not installed."""
    lines = []
    if threads.ThreadpoolController is None:
        lines.append("threadpoolctl is not installed, so BLAS runs with threads of its own: slower")
    if tqdm is None:
        lines.append("tqdm is not installed, so there is no progress bar")
    return [f"note: {line} (pip install 'npkd[app]')" for line in lines]


class _Bar:
    """Progress of one training: a bar on a terminal with tqdm, a line for each epoch elsewhere."""

    def __init__(self, event: distill.Training, title: str):
        self.title = title
        self.bar = None
        if tqdm is not None and sys.stderr.isatty():
            self.bar = tqdm(
                total=event.steps,
                initial=event.update.step,
                desc=f"    {self.title}",
                unit="step",
                leave=False,
            )

    def update(self, event: distill.Training) -> None:
        if self.bar is not None:
            self.bar.set_postfix(
                epoch=event.update.epoch + 1, loss=f"{event.update.loss:.4f}", refresh=False
            )
            self.bar.update()

    def epoch(self, event: distill.Epoch) -> None:
        text = (
            f"    {self.title}, epoch {event.epoch + 1} of {event.epochs}: "
            f"loss {event.loss:.4f}, test {evaluate.in_words(event.figures)}"
        )
        if self.bar is None:
            say(text)
        elif event.epoch + 1 == event.epochs:
            self.bar.write(text, file=sys.stdout)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _write(folder: Path, finished: distill.Finished) -> None:
    """Write what a run ends with, let go of its checkpoints, and print where the files are."""
    with writing_to(folder):
        for name, network in finished.networks.items():
            checkpoint.save_weights(folder / f"{name}.npz", network.params)
        checkpoint.save_weights(folder / "samples.npz", finished.samples)
        report.write_json(folder / "report.json", finished.report)
        say(f"\n{report.table(finished.report)}\n")
        _draw(folder)
        checkpoint.remove(folder)
    say(
        f"{finished.report['seconds']['total']:.0f} s in all; the files are in {folder}:",
        "    " + ", ".join(name for name in checkpoint.RUN_FILES if (folder / name).exists()),
    )


def _draw(folder: Path) -> None:
    """Make the picture and the page, if this installation can; a run is not lost for these."""
    try:
        page.write(folder)
    except (ImportError, BadInput) as error:
        made = "report.png and report.html are not made"
        say(f"note: {made}: {error}; npkd report {folder} makes them")


def _add_report(actions: Any) -> None:
    parser = actions.add_parser(
        "report",
        help="make the page and the picture of a finished run again",
        description="Make report.html, the story of a run on one page, and report.png again from "
        "the files of a finished run: report.json, samples.npz and the weights. Needs matplotlib "
        "(the extra app).",
    )
    parser.add_argument("folder", metavar="DIR", help="the folder of a run: runs/NAME-SEED")
    parser.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    """Make the picture and the page, and say where they are."""
    folder = Path(args.folder)
    try:
        with writing_to(folder):
            page.write(folder)
    except ImportError as error:
        raise BadInput(str(error)) from error
    say(f"made {folder / 'report.html'} and report.png")
    return 0


def _add_gradcheck(actions: Any) -> None:
    parser = actions.add_parser(
        "gradcheck",
        help="check every gradient of npkd, and every value, on this machine",
        description="Check everything in npkd on random cases: values against the formula in "
        "scalar loops, backward passes against the complex step (1e-14 along a random direction, "
        "1e-13 entry by entry, and what rounding was measured to do), the contract of every "
        "operation, and whole updates against derivatives taken without any backward pass. Prints "
        "a row for each subject: its checks, the random cases that each was run on, the worst "
        "relative error of values and of gradients, the smallest relative fault of a gradient that "
        "every case would have seen, and where the worst gradient was. Exit status 1 if a check "
        "fails: a gradient that is wrong, and one that could not be decided on, which is said. To "
        "check a function of your own, see npkd.gradcheck.",
    )
    say = parser.add_argument
    say(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to check: {', '.join(proofs.PROOFS)} (everything)",
    )
    say(
        "--examples",
        type=int,
        default=10,
        metavar="N",
        help="random cases for each check; of those that take long a part (10)",
    )
    say("--seed", type=int, default=0, metavar="N", help="of all randomness (0)")
    say("--threads", type=int, metavar="N", help="worker threads (one for each core)")
    parser.set_defaults(run=_gradcheck)


def _gradcheck(args: argparse.Namespace) -> int:
    """Print a row for each subject as it is done, then what failed."""
    require_names(args.names, list(proofs.PROOFS))
    for option, least in (("examples", 1), ("seed", 0)):
        if getattr(args, option) < least:
            raise BadInput(
                f"--{option} is {getattr(args, option)}, expected a whole number from {least}"
            )
    set_threads(args.threads)
    say(f"npkd {__version__}: seed {args.seed}, relative errors\n")
    width = max(map(len, proofs.PROOFS)) + 2
    columns = f"{'value':>10}{'gradient':>10}{'would see':>11}"
    say(f"{'':{width}}checks  examples{columns}  where the gradient is worst")
    failed = []
    with threads.one_blas_thread():
        for row in proofs.prove(args.names or list(proofs.PROOFS), args.examples, args.seed):
            verdict = f"FAILED {len(row.failures)} times" if row.failures else row.gradient.where
            errors = f"{row.value.relative:10.1e}{row.gradient.relative:10.1e}"
            errors += f"{row.gradient.power:11.1e}"
            line = f"{row.name:{width}}{row.checks:6}{row.examples:10}{errors}  {verdict}"
            say(line.rstrip())
            if row.failures:
                failed.append(row.name)
                say(*(f"    {line}" for line in row.failures[0].splitlines()))
    say("\nall checks passed" if not failed else f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


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
        say(f"losses.{name}\n\n{inspect.getdoc(getattr(losses, name))}\n")
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
        "AMBIGUOUS or UNPROVEN. Exit status 1 if there is a BUG, or if a tensor that must be given "
        "is not. To judge a model of your own in Python, see npkd.validate.",
    )
