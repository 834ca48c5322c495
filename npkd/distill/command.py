"""The commands `npkd distill`, `npkd report` and `npkd predict`."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npkd import __version__, data, distill, explore, objectives, training, weights
from npkd.commands import add_reading, add_threads, reading, say, say_json, set_threads, stopping
from npkd.distill import checkpoint, evaluate, loss_text
from npkd.distill.predict import ASKED, NETS, Predicted, Predictor, Source, given, likeliest
from npkd.distill.report import contents, page
from npkd.distill.report.table import names_of, nets_of, table
from npkd.distill.resuming import Checkpoints
from npkd.distill.tasks import TASKS
from npkd.distill.teacher import Teacher
from npkd.engine import threads
from npkd.files import BadInput, one_line, writing_to
from npkd.printing.text import in_columns, short
from npkd.zoo import MODELS

try:
    from tqdm import tqdm
except (ImportError, ValueError):  # not installed, or its settings in the environment are wrong
    tqdm = None

OF_STEP_1 = ("teacher_views", "large_epochs", "large_learning_rate")


def add_distill(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd distill."""
    tuned = distill.PRESETS["default"]

    def of_photographs(setting: str) -> str:
        return f"{getattr(tuned, setting)}, on CIFAR {getattr(distill.PHOTOGRAPHS, setting)}"

    def by_data(setting: str) -> str:
        resolving = getattr(distill.SUPER_RESOLUTION, setting)
        return f"{of_photographs(setting)}; to super-resolve {resolving}"

    say = parser.add_argument
    say(
        "--data",
        default="mnist5k",
        metavar="PATH",
        help="mnist5k (bundled; the default), a folder with CIFAR-10 or CIFAR-100 (binary or "
        "python layout), with MNIST's idx files, or of images by class; or images and labels in "
        "an .npz file or a folder of .npy files",
    )
    add_reading(parser)
    say("--task", choices=tuple(TASKS), help=f"what the nets learn ({tuned.task})")
    say(
        "--preset",
        choices=tuple(distill.PRESETS),
        default=tuned.preset,
        help="default: tuned; document: plain SGD, lr 0.01, 10 epochs, no augmentation; "
        "document-alternating: the same, an epoch of the large and the small net in turn; "
        f"few-labels: labels of {distill.PRESETS['few-labels'].labelled} images alone are known; "
        "resnet20-resnet8: these nets, both at full resolution, by the labels and ⅒ L2",
    )
    for option, whose, net in (
        ("--large", "the teacher", tuned.large),
        ("--small", "the student, and of the net from labels beside it", tuned.small),
    ):
        say(
            option,
            choices=tuple(MODELS),
            metavar="NAME",
            help=f"the net of {whose}, to classify: see npkd models ({net})",
        )
    say(
        "--teacher",
        metavar="FILE",
        help="weights of a large net that is trained already (.npz, .safetensors, or a state_dict "
        "of PyTorch); step 1 is left out",
    )
    say(
        "--small-input",
        choices=("low", "high"),
        help=f"to classify, what the small nets see: x_low or x_high ({tuned.small_input})",
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
        "--labelled",
        type=int,
        metavar="N",
        help="both nets learn from the labels of so many images only, chosen at random; the "
        "distilled one sees all the others too, with the large net's outputs (all)",
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
        "--optimiser",
        choices=("sgd", "adam", "adamw"),
        help=f"what updates the nets ({tuned.optimiser}, which the rates above are for: adam and "
        "adamw want lower ones, such as 0.001)",
    )
    say(
        "--nesterov",
        action=argparse.BooleanOptionalAction,
        help="Nesterov's momentum, in the place of momentum alone (no)",
    )
    say(
        "--decay-biases",
        action=argparse.BooleanOptionalAction,
        help="weight decay for biases too, and for all other arrays of fewer than two axes (yes)",
    )
    say(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="shift training images at random, and flip them where that makes sense; to "
        "super-resolve, only flip (yes)",
    )
    add_threads(parser)
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
    dataset = data.load(args.data, **reading(args))
    task = args.task or "classify"
    if task == "super-resolve" and args.teacher_views:
        raise BadInput("--teacher-views means nothing to nets that super-resolve: they take x_low")
    for setting in OF_STEP_1 if args.teacher is not None else ():
        if getattr(args, setting) is not None:
            option = f"--{setting.replace('_', '-')}"
            raise BadInput(f"{option} means nothing with --teacher: the large net is not trained")
    teacher = None if args.teacher is None else Teacher.of(args.teacher)
    try:
        preset = distill.preset(args.preset, dataset, task)
        given = {
            name: value
            for name, value in vars(args).items()
            if hasattr(preset, name) and name not in ("preset", "loss") and value is not None
        }
        if args.loss:
            given["loss"] = tuple(loss_text.term(name, pairs) for name, pairs in args.loss)
        if args.labelled is not None:
            given["unlabelled"] = max(0, len(dataset.train_labels) - args.labelled)
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
        checkpoints = Checkpoints(folder, config, dataset, args, teacher)
        run = checkpoints.run(args.resume)
        try:
            finished = _follow(run, dataset, checkpoints)
        except training.Diverged as error:
            raise BadInput(str(error)) from error
        finished.report["data"] |= checkpoints.reading
        _write(folder, finished)
    return 0


def _follow(run: distill.Run, dataset: data.Dataset, checkpoints: Checkpoints) -> distill.Finished:
    """Show the events of a run as they come; the last one is the result."""
    say(
        f"npkd {__version__}: {dataset.name}, {len(dataset.train_labels):,} images to "
        f"train and {len(dataset.test_labels):,} to test, "
        + (
            f"{threads.get_num_threads()} thread(s)"
            if threads.ThreadpoolController
            else "BLAS's threads"
        ),
        *(f"note: {text}" for text in dataset.notes),
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
                    bar = bar or _Bar(event, names_of(run.config.task)[event.net])
                    bar.update(event)
                case distill.Epoch():
                    assert bar is not None
                    bar.epoch(event)
                    if event.epoch + 1 == event.epochs or run.config.alternating:
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
            weights.save_weights(folder / f"{name}.npz", network.state_dict())
        weights.save_weights(folder / "samples.npz", finished.samples)
        contents.write_json(folder / "report.json", finished.report)
        say("", *table(finished.report).split("\n"), "")
        _draw(folder, finished.report["task"])
        checkpoint.remove(folder)
    if why := _why_behind(finished.report):
        say(*why, "")
    say(
        f"{finished.report['seconds']['total']:.0f} s in all; the files are in {folder}:",
        "    " + ", ".join(name for name in checkpoint.RUN_FILES if (folder / name).exists()),
    )


def _why_behind(report: dict[str, Any]) -> list[str]:
    """Where the distilled net of a run that classifies is behind: what studies found about why."""
    models, config = report["models"], report["config"]
    if report["task"] != "classify":
        return []
    behind = models["small_from_labels"]["accuracy"] - models["small"]["accuracy"]
    if behind <= 0:
        return []
    first = f"The distilled net is {100 * behind:.1f} points behind the one from labels."
    if config["labelled"] is not None:
        return [
            f"{first} The large net, from few labels too,",
            "may know no more than they say; many seeds tell whether that is chance:",
            "    npkd study data-size",
        ]
    return [
        f"{first} Studies found why",
        "(npkd/study/README.md): where all images have labels, these say nearly all that the",
        "large net knows, and by L2 alone a small net comes as near to its teacher as it can, and",
        "not past it. Where few images have labels it is another matter:",
        "    npkd distill --preset few-labels",
    ]


def _draw(folder: Path, task: str) -> None:
    """Make the picture and the pages, if this installation can; a run is not lost for these."""
    try:
        if task == "classify":
            explore.write(folder)
    except BadInput as error:
        say(f"note: explore.html is not made: {error}")
    try:
        page.write(folder)
    except (ImportError, BadInput) as error:
        made = "report.png and report.html are not made"
        say(f"note: {made}: {error}; npkd report {folder} makes them")


def add_report(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd report."""
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


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd predict."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run that classifies: runs/NAME-SEED")
    say(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="an image of any format that npkd takes, a folder of such images, or an array of "
        "images (.npy, or images in .npz); one whose name begins with - as ./-NAME",
    )
    say(
        "--net",
        choices=(*ASKED, "both"),
        default="small",
        help="which one is asked; _int8: as npkd quantise has made it (small)",
    )
    say("--top", type=int, default=1, metavar="K", help="so many classes of each image (1)")
    say("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_predict)


def _predict(args: argparse.Namespace) -> int:
    """Print the classes, and on standard error what was left out or could not be read.

    The table is printed as images are predicted, so that those that are done are seen.
    """
    if args.top < 1:
        raise BadInput(f"--top is {args.top}, expected a whole number from 1")
    predictor = Predictor(args.folder)
    nets = NETS if args.net == "both" else (args.net,)
    sources, notes = given(args.images, predictor.image_shape[0])
    images = predictor.each(sources, nets)
    for note in notes:
        say(f"note: {note}", error=True)
    found: Iterable[dict[str, Any]] = (
        _found(image, predictor.class_names, args.top) for image in images
    )
    if args.json:
        if tqdm is not None and sys.stderr.isatty():
            found = tqdm(found, total=sum(map(len, sources)), unit="image", leave=False)
        found = list(found)
        say_json({"run": args.folder, "images": found})
    titles = nets_of(predictor.report)
    table, status = _Classes(sources, predictor.class_names, {net: titles[net] for net in nets}), 0
    for one in found:
        if "problem" in one:
            status = 1
            say(one["problem"], error=True)
        elif not args.json:
            table.show(one)
    return status


def _found(image: Predicted, class_names: Sequence[str], top: int) -> dict[str, Any]:
    """An image in JSON: its classes by net, or the problem."""
    if image.problem:
        return {"image": image.image, "problem": str(image.problem)}
    of_nets = {
        net: [
            {"class": name, "probability": probability}
            for name, probability in likeliest(y, class_names, top)
        ]
        for net, y in image.logits.items()
    }
    return {"image": image.image} | of_nets


class _Classes:
    """A table that is printed image by image; its columns are as wide as any of them may need."""

    def __init__(
        self, sources: Sequence[Source], class_names: Sequence[str], nets: Mapping[str, str]
    ):
        head = ["image", *(cell for name in nets.values() for cell in (name, "probability"))]
        longest = [
            max(len(one_line(source.called(len(source) - 1))) for source in sources),
            *(max(len(short(name, 40)) for name in class_names), len("100.00%")) * len(nets),
        ]
        self.nets, self.left = nets, range(0, len(head) - 1, 2)
        self.widths = [max(len(cell), width) for cell, width in zip(head, longest, strict=True)]
        line = in_columns(head, self.widths, self.left)
        self.above = [line, "─" * len(line)]

    def show(self, one: dict[str, Any]) -> None:
        """A row for each class that the image may be of, with its probability, net by net."""
        lines, self.above = self.above, []
        for place, of_nets in enumerate(zip(*(one[net] for net in self.nets), strict=True)):
            row = ["" if place else one_line(one["image"])]
            for of_net in of_nets:
                row += [short(of_net["class"], 40), f"{of_net['probability']:.2%}"]
            lines.append(in_columns(row, self.widths, self.left))
        say(*lines)
