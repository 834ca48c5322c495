"""report.html: the story of a run on one page, for somebody who was not there.

The page holds everything itself, pictures too, and asks no network for anything. It is made from
the files of a run: report.json, samples.npz and the weights; so it can be made again.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from npkd import checkpoint, drawings, evaluate
from npkd.files import BadInput, one_line, read_bytes, write_atomically
from npkd.objectives import Term
from npkd.report import headline, names_of, ratios_of, rows, upsampling
from npkd.tasks import TASKS

MOST_BYTES = 2**26  # of report.json
GALLERY = (11.0, 3.6)  # inches, of rows of small images

STYLE = """
body { font: 1rem/1.55 Georgia, serif; color: #111; background: #fff; margin: 0 auto;
       max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
img { width: 100%; height: auto; } figure { margin: 1rem 0; overflow-x: auto; }
figure.wide img { min-width: 44rem; } .row { display: flex; flex-wrap: wrap; gap: .5rem; }
.row img { flex: 1 1 18rem; min-width: 0; width: auto; max-width: 100%; }
figcaption { font-size: .9rem; color: #333; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 10rem; }
thead th { border-bottom: 2px solid #111; }
code { font-size: .85rem; overflow-wrap: anywhere; } li { margin: .35rem 0; }
"""


def write(folder: Path) -> None:
    """Make report.png and report.html in a run's folder from the files that are there.

    Raises BadInput if they are missing or not a run's, ImportError without matplotlib, and OSError
    if the page cannot be written.
    """
    report, samples, weights = _read(folder)
    try:
        drawings.picture(folder / "report.png", report, samples)
        text = page(report, samples, weights).encode()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadInput(
            f"{folder}: report.json and samples.npz are not of one run of this version: {error!r}"
        ) from error
    write_atomically(folder / "report.html", lambda file: file.write(text))


def _read(
    folder: Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """What report.json and samples.npz hold, and the weights of the nets."""
    path = folder / "report.json"
    data = read_bytes(path, at_most=MOST_BYTES, what="the report of a run")
    try:
        report = json.loads(data)
        names = names_of(report["task"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: not the report of a run: {error!r}") from error
    weights = {name: checkpoint.load_weights(folder / f"{name}.npz") for name in names}
    return report, checkpoint.load_weights(folder / "samples.npz"), weights


def page(
    report: Mapping[str, Any],
    samples: drawings.Samples,
    weights: Mapping[str, Mapping[str, np.ndarray]],
) -> str:
    """The page as text. Raises ImportError without matplotlib."""
    report = dict(report)
    title = one_line(f"npkd: {report['data']['name']}, {report['task']}, seed {report['seed']}")
    pieces = [
        f"<h1>{escape(headline(report))}</h1>",
        _introduction(report),
        "<h2>What happened, step by step</h2>",
        _steps(report),
        "<h2>The nets side by side</h2>",
        table(rows(report)),
        _verdict(report),
        figure(
            "How they learned: loss on the training images, and what counts on the test images, "
            "after each pass. The distilled net’s loss is its distance to the large net, the "
            "others’ that to the truth: these are not to be compared.",
            lambda area: drawings.loss(area, report),
            lambda area: drawings.quality(area, report),
        ),
        "<h2>What was compressed</h2>",
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
        *(_of_images(report, samples) if _resolves(report) else _of_classes(report, samples)),
        "<h2>What the first layers look for</h2>",
        figure(
            "The filters of the first convolutions, as small colour images, each stretched to its "
            "own full contrast. They are applied everywhere in an image; a colour means how red, "
            "green and blue count, and nothing where images are grey.",
            lambda area: drawings.filters(
                area,
                {
                    title: weights[name]["conv1.weight"]
                    for name, title in names_of(report["task"]).items()
                },
            ),
            size=(10, 2.8),
            wide=True,
        ),
        "<h2>Settings, versions, seed</h2>",
        _settings(report),
    ]
    return document(title, pieces)


def document(title: str, pieces: Iterable[str]) -> str:
    """A whole page of pieces of HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(pieces)
        + "\n</body>\n</html>\n"
    )


def _resolves(report: Mapping[str, Any]) -> bool:
    return report["task"] == "super-resolve"


def _truth(report: Mapping[str, Any]) -> str:
    """What nets learn from when no other net teaches them."""
    return TASKS[report["task"]].truth_name


def _mixed(report: Mapping[str, Any]) -> str:
    """What the distilled net's loss was mixed with, if with anything."""
    share = report["config"]["label_weight"]
    return f", mixed with a share of {share:g} of the loss to {_truth(report)}" if share else ""


def _loss(report: Mapping[str, Any]) -> str:
    """What the distilled net's loss was."""
    if report["config"].get("loss", [asdict(Term())]) != [asdict(Term())]:
        return f"<code>{escape(report['loss'])}</code>, in the names of <code>npkd losses</code>"
    return (
        "½‖y<sub>large</sub> − y<sub>small</sub>‖², the squared distance of the two nets’ outputs"
        + _mixed(report)
    )


def _introduction(report: Mapping[str, Any]) -> str:
    """What distillation is, and what the nets had to do."""
    what = (
        "Both nets are shown images of 16×16 pixels and make images of 32×32 of them. The true "
        "image is the one that was averaged, 2×2 pixels to one, to make the small one. PSNR says "
        "how near an image comes to it, in decibels (dB): 3 dB more are half the squared error. "
        "SSIM compares structure, and is 1 for equal images. Of both, more is better."
        if _resolves(report)
        else "The nets say of which class an image is; accuracy is how often they are right. The "
        "small one is shown images of 16×16 pixels, which were made of images of 32×32 by "
        "averaging 2×2 pixels to one. Cross-entropy is the loss to the labels: 0 if a net is sure "
        "and right, and the larger the surer it is of something wrong."
    )
    return (
        "<p>Knowledge distillation trains a small network to give the outputs of a large one, so "
        f"that something cheap does the work of something expensive. {what} Here the loss is "
        f"{_loss(report)}. Beside the distilled net stands one of the same size that learned from "
        f"{_truth(report)} alone, from the same first weights, on the same images in the same "
        "order, each at the rate of its own in the settings below. The difference between these "
        "two is what distillation was worth in this run.</p>"
    )


def _steps(report: Mapping[str, Any]) -> str:
    """The six steps with their figures."""
    data, config, truth = report["data"], report["config"], report["teacher_against_truth"]
    high = {
        name.removesuffix("_high"): value for name, value in truth.items() if name.endswith("_high")
    }
    on_high = f" (on high resolution {evaluate.in_words(high)})" if high else ""
    last = report["history"]["small"][-1]
    versions = report["image_versions"]
    in_versions = f", in {versions} versions, unaltered and augmented" if versions > 1 else ""
    shown = "in low resolution, as the small net would see them"
    if config["teacher_input"] == "high":
        shown = "in full resolution"
    passes, small_passes = _passes(config["large_epochs"]), _passes(config["epochs"])
    texts = [
        f"The large net was trained on {data['train']:,} images, {passes}, in "
        f"{report['models']['large']['train_seconds']:.0f} s.",
        f"It was then frozen, and shown the training images {shown}{in_versions}.",
        f"Against {_truth(report)}, on {data['test']:,} test images that it had never seen, it "
        f"reached {evaluate.in_words(truth)}{on_high}.",
        "The small net, not trained yet, was at a distance of "
        f"{report['untrained']['l2']:,.1f} from it (½‖y_large − y_small‖², mean over test images).",
        f"The small net was trained towards the large net’s outputs{_mixed(report)}, "
        f"{small_passes}; the loss on the training images was "
        f"{last['loss']:.3f} in the last one.",
        f"On the test images it reached {evaluate.in_words(report['models']['small'])}.",
    ]
    return "<ol>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ol>"


def _passes(epochs: int) -> str:
    return "one pass" if epochs == 1 else f"{epochs} passes"


def table(cells: Iterable[Sequence[str]]) -> str:
    """A table of cells of plain text, the first row its head."""
    head, *body = cells
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return (
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _verdict(report: Mapping[str, Any]) -> str:
    """Whether distillation helped in this run, in a sentence."""
    small, alone = report["models"]["small"], report["models"]["small_from_labels"]
    if _resolves(report):
        gain, unit = round(small["psnr"] - alone["psnr"], 2), "dB"
        reached = (
            f"<p>Upsampling without learning: {escape(upsampling(dict(report)))}. The distilled "
            "net’s training took the large net’s work too, which makes its images anew for each "
            "batch.</p>"
        )
    else:
        gain, unit, reached = round(100 * (small["accuracy"] - alone["accuracy"]), 2), "points", ""
    sign = "ahead of" if gain > 0 else "behind" if gain < 0 else "level with"
    by = f"{abs(gain):.2f} {unit} " if gain else ""
    return (
        "<p>Multiply-adds are the multiplications, each with an addition, that one image takes; "
        "latency is the time from images to outputs, for one image or for 64 at once.</p>"
        f"{reached}<p>In this run the distilled net is {by}{sign} the one that learned from "
        f"{_truth(report)} alone. One run with one seed proves little: with another seed the "
        "difference is another.</p>"
    )


def _compressed(report: Mapping[str, Any]) -> str:
    """The compression in words."""
    ratios = dict(ratios_of(dict(report)))
    large, small = report["models"]["large"], report["models"]["small"]
    return (
        f"<p>{large['parameters']:,} parameters became {small['parameters']:,}, "
        f"{ratios['parameters']:.1f} times fewer; an image takes {ratios['multiply-adds']:.1f} "
        f"times fewer multiplications, and {small['latency_ms']['1']:.2f} ms instead of "
        f"{large['latency_ms']['1']:.2f} on the machine of this run.</p>"
    )


def _of_classes(report: Mapping[str, Any], samples: drawings.Samples) -> list[str]:
    """What is mistaken for what, and where the nets disagree."""
    firsts, places = len(samples["firsts"]), list(range(len(samples["chosen"])))
    shown, differ = places[:firsts], places[firsts:]
    large, small = (
        evaluate.predictions(samples[f"logits/{name}"]) for name in ("large_low", "small")
    )
    otherwise = np.mean(large != small)
    whose = "each class" if firsts == len(np.unique(samples["labels"])) else f"{firsts} classes"
    pieces = [
        "<h2>What is mistaken for what</h2>",
        figure(
            "Rows are the true classes, columns what a net says, on test images in low resolution. "
            "On the diagonal it is right; the darker, the larger the share of the row.",
            *(
                lambda area, net=net: drawings.confusion(area, report, samples, net)
                for net in names_of(report["task"])
            ),
            size=(4.4, 4.7),
        ),
        "<h2>What the nets see</h2>",
        figure(
            f"A test image of {whose} in both resolutions, with its class and what the nets take "
            "it for (✗: wrong).",
            lambda area: drawings.classified(area, report, samples, shown),
            size=GALLERY,
            wide=True,
        ),
        "<h2>Where large and small disagree</h2>",
        f"<p>On {otherwise:.1%} of the test images, in low resolution, the distilled net says "
        "another class than the large one.</p>",
    ]
    if differ:
        pieces.append(
            figure(
                "Some of them: above in high resolution, below as the small net sees them.",
                lambda area: drawings.classified(area, report, samples, differ),
                size=GALLERY,
                wide=True,
            )
        )
    return pieces


def _of_images(report: Mapping[str, Any], samples: drawings.Samples) -> list[str]:
    """What the nets make of images, and where they differ."""
    firsts = len(samples["firsts"])
    differ = range(firsts, len(samples["chosen"]))
    return [
        "<h2>What the nets make of images</h2>",
        figure(
            "Test images from those where the small net does worst (left) to best: what it is "
            "shown, bicubic upsampling, both nets, and the truth.",
            lambda area: drawings.resolved(area, samples, range(firsts)),
            size=(12, 5.4),
            wide=True,
        ),
        "<h2>Where large and small differ</h2>",
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
            "Second: how much distillation gains or loses on each image. PSNR is of the luma (Y), "
            f"without a border of {report['measured_on']['crop']} pixels.",
            lambda area: drawings.against_teacher(area, samples),
            lambda area: drawings.gain(area, samples),
        ),
    ]


def figure(
    caption: str,
    *draws: drawings.Draw,
    size: tuple[float, float] = (5, 4),
    wide: bool = False,
) -> str:
    """Pictures inside of the page, each of so many inches, side by side where there is room.

    A wide one scrolls on a phone.
    """
    pictures = "".join(
        f'<img alt="{escape(caption)} ({number} of {len(draws)})" src="data:image/png;base64,'
        + base64.b64encode(drawings.png(draw, width=size[0], height=size[1], dpi=130)).decode()
        + '">'
        for number, draw in enumerate(draws, 1)
    )
    kind = ' class="wide"' if wide else ""
    row = pictures if len(draws) == 1 else f'<div class="row">{pictures}</div>'
    return f"<figure{kind}>{row}<figcaption>{escape(caption)}</figcaption></figure>"


def _settings(report: Mapping[str, Any]) -> str:
    """Everything that it takes to do this again."""
    config = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in (report["config"] | {"loss": report.get("loss", "l2")}).items()
    )
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return (
        f'<div class="scroll"><table><tbody>{config}</tbody></table></div>'
        f"<p>Seed {report['seed']}, {report['threads']} thread(s), {escape(versions)}; "
        f"{report['seconds']['total']:.0f} s in all. All figures are in <code>report.json</code>, "
        "the weights in <code>large.npz</code>, <code>small.npz</code> and "
        "<code>small_from_labels.npz</code>; <code>npkd report</code> makes this page again.</p>"
    )
