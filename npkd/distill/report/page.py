"""report.html: the story of a run on one page, for somebody who was not there.

It is made from the files of a run, as `finished.read` takes them; so it can be made again.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npkd.distill import evaluate
from npkd.distill.outputs import FEW, predictions
from npkd.distill.report import drawings, eight_bits, finished, speed
from npkd.distill.report.table import (
    IN_EIGHT_BITS,
    beside_small,
    headline,
    image_shape,
    names_of,
    ratios_of,
    resolution,
    rows,
    upsampling,
)
from npkd.distill.tasks import TASKS
from npkd.files import write_atomically
from npkd.objectives import Objective
from npkd.printing.pages import Html, document, figure, html, table, tag

GALLERY = (11.0, 3.6)  # inches, of rows of small images
DRAWN = {  # what there is to say of images of so many channels
    1: " Images have one channel, and are drawn in grey.",
    2: " Images have two channels; here their mean is drawn, in grey.",
    4: " Images have four channels; here the first three are drawn, as red, green and blue.",
}
MOST_CLASSES = 1000  # that tables of them are drawn of; of more, a cell is far less than a dot


def write(folder: Path) -> None:
    """Make report.png and report.html in a run's folder from the files that are there.

    Raises BadInput if they are not what a run writes or cannot be drawn, ImportError without
    matplotlib, and OSError if the page cannot be written; then the folder is as it was.
    """
    report, samples, weights = finished.read(folder)
    text = page(report, samples, weights).encode()
    picture = drawings.picture(report, samples)
    write_atomically(folder / "report.html", lambda file: file.write(text))
    write_atomically(folder / "report.png", lambda file: file.write(picture))


def page(
    report: Mapping[str, Any],
    samples: drawings.Samples,
    weights: Mapping[str, Mapping[str, np.ndarray]],
) -> str:
    """The page as text. Raises what `pictures.png` does."""
    report = dict(report)
    title = f"npkd: {report['data']['name']}, {report['task']}, seed {report['seed']}"
    pieces = [
        tag("h1", headline(report)),
        _introduction(report),
        tag("h2", "What happened, step by step"),
        _steps(report),
        tag("h2", "The nets side by side"),
        table(rows(report)),
        _verdict(report),
        figure(
            "How they learned: loss on the training images, and what counts on the test images, "
            "after each pass. The distilled net’s loss is its distance to the large net, the "
            "others’ that to the truth: these are not to be compared.",
            lambda area: drawings.loss(area, report),
            lambda area: drawings.quality(area, report),
        ),
        tag("h2", "What was compressed"),
        _compressed(report),
        figure(
            "How many times less the small net takes than the large one.",
            lambda area: drawings.compression(area, report),
            size=(6, 2.6),
        ),
        figure(
            "What is paid for it: quality against size, and against the time for one image.",
            lambda area: drawings.against_size(area, report),
            lambda area: drawings.against_time(area, report),
            size=(5, 3.4),
        ),
        *_in_eight_bits(report),
        *_speed(report),
        *(_of_images(report, samples) if _resolves(report) else _of_classes(report, samples)),
        tag("h2", "What the first layers look for"),
        figure(
            "The filters of the first convolutions, as small images, drawn as others are, each "
            "stretched to its own full contrast. They are applied everywhere in an image; a colour "
            "means how red, green and blue count, and nothing where images are grey.",
            lambda area: drawings.filters(
                area,
                {
                    title: next(w for w in weights[name].values() if w.ndim == 4)
                    for name, title in names_of(report["task"]).items()
                },
            ),
            size=(10, 2.8),
            wide=True,
        ),
        tag("h2", "Settings, versions, seed"),
        _settings(report),
    ]
    return document(title, pieces)


def _resolves(report: Mapping[str, Any]) -> bool:
    return report["task"] == "super-resolve"


def _truth(report: Mapping[str, Any]) -> str:
    """What nets learn from when no other net teaches them."""
    return TASKS[report["task"]].truth_name


def _mixed(report: Mapping[str, Any]) -> str:
    """What the distilled net's loss was mixed with, if with anything."""
    share = report["config"]["label_weight"]
    return f", mixed with a share of {share:g} of the loss to {_truth(report)}" if share else ""


def _loss(report: Mapping[str, Any]) -> Html:
    """What the distilled net's loss was."""
    usual = str(Objective(report["config"]["label_weight"]))
    loss = report.get("loss", usual)
    if loss != usual:
        return html(tag("code", loss), ", in the names of ", tag("code", "npkd losses"))
    large, small = html("y", tag("sub", "large")), html("y", tag("sub", "small"))
    distance = html("½‖", large, " − ", small, "‖², the squared distance of the two nets’ outputs")
    return html(distance, _mixed(report))


def _introduction(report: Mapping[str, Any]) -> Html:
    """What distillation is, and what the nets had to do."""
    channels, size, _ = image_shape(report)
    high, low = (f"{n}×{n}" for n in (size, size // 2))
    what = (
        f"Both nets are shown images of {low} pixels and make images of {high} of them. The true "
        "image is the one that was averaged, 2×2 pixels to one, to make the small one. PSNR says "
        "how near an image comes to it, in decibels (dB): 3 dB more are half the squared error. "
        "SSIM compares structure, and is 1 for equal images. Of both, more is better."
        if _resolves(report)
        else "The nets say of which class an image is; accuracy is how often they are right. "
        + (
            ""
            if resolution(report) == "high"
            else f"The small one is shown images of {low} pixels, which were made of images of "
            f"{high} by averaging 2×2 pixels to one. "
        )
        + "Cross-entropy is the loss to the labels: 0 if a net is sure "
        "and right, and the larger the surer it is of something wrong."
    )
    what += DRAWN.get(channels, "")
    return tag(
        "p",
        "Knowledge distillation trains a small network to give the outputs of a large one, so "
        f"that something cheap does the work of something expensive. {what} Here the loss is ",
        _loss(report),
        ". Beside the distilled net stands one of the same size that learned from "
        f"{_truth(report)} alone, from the same first weights, on the same images in the same "
        "order, each at the rate of its own in the settings below. The difference between these "
        "two is what distillation was worth in this run.",
    )


def _steps(report: Mapping[str, Any]) -> Html:
    """The six steps with their figures."""
    data, config, truth = report["data"], report["config"], report["teacher_against_truth"]
    high = {
        name.removesuffix("_high"): value for name, value in truth.items() if name.endswith("_high")
    }
    on_high = f" (on high resolution {evaluate.in_words(high)})" if high else ""
    last = report["history"]["small"][-1]
    versions = report["image_versions"]
    in_versions = f", in {versions} versions, unaltered and augmented" if versions > 1 else ""
    shown = "in low resolution"
    if resolution(report) == "low":
        shown += ", as the small net would see them"
    if config["teacher_input"] == "high":
        shown = "in full resolution"
    passes, small_passes = _passes(config["large_epochs"]), _passes(config["epochs"])
    given = report.get("teacher")
    texts = [
        f"The large net was trained on {data['train']:,} images, {passes}, in "
        f"{report['models']['large']['train_seconds']:.0f} s."
        if not given
        else f"The large net had been trained before: its weights are those of {given['file']}.",
        f"It was then frozen, and shown the training images {shown}{in_versions}."
        if not config.get("alternating")
        else f"In turn with it, epoch by epoch, the small net was trained; to teach, the large net "
        f"was shown the training images {shown}{in_versions}.",
        f"Against {_truth(report)}, on {data['test']:,} test images"
        f"{'' if given else ' that it had never seen'}, it "
        f"reached {evaluate.in_words(truth)}{on_high}.",
        "The small net, not trained yet, was at a distance of "
        f"{report['untrained']['l2']:,.1f} from it (½‖y_large − y_small‖², mean over test images).",
        f"The small net was trained towards the large net’s outputs{_mixed(report)}, "
        f"{small_passes}; the loss on the training images was "
        f"{last['loss']:.3f} in the last one.",
        f"On the test images it reached {evaluate.in_words(report['models']['small'])}.",
    ]
    return tag("ol", *(tag("li", text) for text in texts))


def _passes(epochs: int) -> str:
    return "one pass" if epochs == 1 else f"{epochs} passes"


def _verdict(report: Mapping[str, Any]) -> Html:
    """Whether distillation helped in this run, in a sentence."""
    small, alone = report["models"]["small"], report["models"]["small_from_labels"]
    reached = html()
    if _resolves(report):
        gain, unit = round(small["psnr"] - alone["psnr"], 2), "dB"
        reached = tag(
            "p",
            f"Upsampling without learning: {upsampling(dict(report))}."
            + (
                " The distilled net’s training took the large net’s work too, which makes its "
                "images anew for each batch."
            )
            * (math.prod(image_shape(report)) > FEW),
        )
    else:
        gain, unit = round(100 * (small["accuracy"] - alone["accuracy"]), 2), "points"
    sign = "ahead of" if gain > 0 else "behind" if gain < 0 else "level with"
    by = f"{abs(gain):.2f} {unit} " if gain else ""
    return html(
        tag(
            "p",
            "Multiply-adds are the multiplications, each with an addition, that one image takes; "
            "latency is the time from images to outputs, for one image or for 64 at once.",
        ),
        reached,
        tag(
            "p",
            f"In this run the distilled net is {by}{sign} the one that learned from "
            f"{_truth(report)} alone. One run with one seed proves little: with another seed the "
            "difference is another.",
        ),
    )


def _compressed(report: Mapping[str, Any]) -> Html:
    """The compression in words."""
    ratios = dict(ratios_of(dict(report)))
    large, small = report["models"]["large"], report["models"]["small"]
    return tag(
        "p",
        f"{large['parameters']:,} parameters became {small['parameters']:,}, "
        f"{ratios['parameters']:.1f} times fewer; an image takes {ratios['multiply-adds']:.1f} "
        f"times fewer multiplications, and {small['latency_ms']['1']:.2f} ms instead of "
        f"{large['latency_ms']['1']:.2f} on the machine of this run.",
    )


def _in_eight_bits(report: Mapping[str, Any]) -> list[Html]:
    """What eight bits save and cost, of each net that was made so."""
    pieces: list[Html] = []
    for name in report.get("eight_bits", {}):
        pieces += [
            tag("h2", f"In eight bits: {names_of(report['task'])[IN_EIGHT_BITS[name]]}"),
            tag(
                "p",
                "The same net with integers of eight bits for its weights and outputs, each layer "
                "with a scale that says what they stand for, and whole sums in between.",
            ),
            table(eight_bits.rows(report, name)),
            *(
                tag("p", f"{text[0].upper()}{text[1:]}.")
                for text in eight_bits.sentences(report, name)
            ),
        ]
        moving = eight_bits.steps(report, name)
        if moving:
            text = (
                "What moves the outputs, root mean square over the test images, by the step whose "
            )
            pieces += [tag("p", text, "error it is:"), table(moving)]
    return pieces


def _speed(report: Mapping[str, Any]) -> list[Html]:
    """How quick the nets are, here and elsewhere, if that was measured."""
    counts = speed.threads_of(report)
    if not counts:
        return []
    tables = [
        piece
        for count in counts
        for piece in (
            tag("p", f"{speed.title(count)}."),
            table(speed.rows(report, count)),
        )
    ]
    throughput = figure(
        "Images in a second, by how many are computed at once, with one thread (left) and with the "
        "most that were tried."
        if len(counts) > 1
        else "Images in a second, by how many are computed at once.",
        *(lambda area, n=n: drawings.throughput(area, report, n) for n in {counts[0], counts[-1]}),
        size=(7, 3.8),
    )
    return [tag("h2", "How quick they are, here and elsewhere"), *tables, throughput]


def _of_classes(report: Mapping[str, Any], samples: drawings.Samples) -> list[Html]:
    """What is mistaken for what, and where the nets disagree."""
    firsts, places = len(samples["firsts"]), list(range(len(samples["chosen"])))
    shown, differ = places[:firsts], places[firsts:]
    large, small = (
        predictions(samples[f"logits/{name}"]) for name in (beside_small(report), "small")
    )
    otherwise = np.mean(large != small)
    whose = "each class" if firsts == len(np.unique(samples["labels"])) else f"{firsts} classes"
    pieces = [
        tag("h2", "What is mistaken for what"),
        _confusion(report, samples),
        tag("h2", "What the nets see"),
        figure(
            f"A test image of {whose} in both resolutions, with its class and what the nets take "
            "it for (✗: wrong).",
            lambda area: drawings.classified(area, report, samples, shown),
            size=GALLERY,
            wide=True,
        ),
        tag("h2", "Where large and small disagree"),
        tag(
            "p",
            f"On {otherwise:.1%} of the test images, in {resolution(report)} resolution, the "
            "distilled net says another class than the large one.",
        ),
    ]
    if differ:
        pieces.append(
            figure(
                "Some of them, above in high resolution, below in low.",
                lambda area: drawings.classified(area, report, samples, differ),
                size=GALLERY,
                wide=True,
            )
        )
    return pieces


def _confusion(report: Mapping[str, Any], samples: drawings.Samples) -> Html:
    """How often each class is taken for each, if there are not too many of them to be seen."""
    classes = len(report["class_names"])
    if classes > MOST_CLASSES:
        return tag("p", f"There are {classes:,} classes, too many to be seen in one picture.")
    return figure(
        "Rows are the true classes, columns what a net says, on test images in "
        f"{resolution(report)} resolution. On the diagonal it is right; the darker, the larger the "
        "share of the row.",
        *(
            lambda area, net=net: drawings.confusion(area, report, samples, net)
            for net in names_of(report["task"])
        ),
        size=(4.4, 4.7),
    )


def _of_images(report: Mapping[str, Any], samples: drawings.Samples) -> list[Html]:
    """What the nets make of images, and where they differ."""
    firsts, channel = len(samples["firsts"]), report["measured_on"]["channel"]
    differ = range(firsts, len(samples["chosen"]))
    return [
        tag("h2", "What the nets make of images"),
        figure(
            "Test images from those where the small net does worst (left) to best: what it is "
            "shown, bicubic upsampling, both nets, and the truth.",
            lambda area: drawings.resolved(area, samples, range(firsts)),
            size=(12, 5.4),
            wide=True,
        ),
        tag("h2", "Where large and small differ"),
        *(
            [
                figure(
                    "The test images on which the two nets differ most in PSNR.",
                    lambda area: drawings.resolved(area, samples, differ),
                    size=(12, 5.4),
                    wide=True,
                )
            ]
            if differ
            else []
        ),
        figure(
            "First: each point is a test image; below the dotted line the large net does better. "
            "Second: how much distillation gains or loses on each image. PSNR is of "
            f"{'the luma (Y)' if channel == 'Y' else channel}, without a border of "
            f"{report['measured_on']['crop']} pixels.",
            lambda area: drawings.against_teacher(area, samples),
            lambda area: drawings.gain(area, samples),
        ),
    ]


def _settings(report: Mapping[str, Any]) -> Html:
    """Everything that it takes to do this again."""
    settings = report["config"] | {"loss": report.get("loss", "l2")}
    if "teacher" in report:
        ours = {k: v for k, v in settings.items() if k != "teacher_views" and k[:6] != "large_"}
        settings = ours | {"teacher": "{file}, SHA-256 {sha256}".format(**report["teacher"])}
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return html(
        table([["", ""], *([name.replace("_", " "), value] for name, value in settings.items())]),
        tag(
            "p",
            f"Seed {report['seed']}, {report['threads']} thread(s), {versions}; "
            f"{report['seconds']['total']:.0f} s in all. All figures are in ",
            tag("code", "report.json"),
            ", the weights in ",
            tag("code", "large.npz"),
            ", ",
            tag("code", "small.npz"),
            " and ",
            tag("code", "small_from_labels.npz"),
            "; ",
            tag("code", "npkd report"),
            " makes this page again.",
        ),
    )
