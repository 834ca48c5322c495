"""The figures of a run as a table and as a picture.

Both are drawn from what report.json holds (`distill.Finished.report`).
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from npkd.data import low_resolution
from npkd.files import write_atomically

NAMES = {
    "large": "large",
    "small": "small, distilled",
    "small_from_labels": "small, from labels",
}
# Colours that stay apart in grey and for the colour-blind (Okabe and Ito 2008).
COLOURS = {"large": "#0072b2", "small": "#d55e00", "small_from_labels": "#999999"}


def write_json(path: str | Path, report: dict[str, Any]) -> None:
    """Write report.json."""
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def table(report: dict[str, Any]) -> str:
    """The figures of the three nets side by side, and the compression, for a terminal."""
    models = report["models"]
    rows: list[tuple[str, Any]] = [
        ("parameters", lambda m: f"{m['parameters']:,}"),
        ("multiply-adds for one image", lambda m: f"{m['macs']:,}"),
        ("bytes", lambda m: f"{m['bytes']:,}"),
        ("test accuracy, high resolution", lambda m: _high(m)),
        ("test accuracy, low resolution", lambda m: f"{m.get('accuracy_low', m['accuracy']):.2%}"),
        ("accuracy on training images", lambda m: f"{m['train_accuracy']:.2%}"),
        ("agreement with the large net", lambda m: f"{m['agreement']:.2%}"),
        ("mean squared error to its outputs", lambda m: f"{m['mse']:.4f}"),
        ("latency of 1 image, ms", lambda m: f"{m['latency_ms']['1']:.2f}"),
        ("latency of 64 images, ms", lambda m: f"{m['latency_ms']['64']:.2f}"),
        ("training, s", lambda m: f"{m['train_seconds']:.1f}"),
    ]
    cells = [["", *NAMES.values()]]
    cells += [[title, *(figure(models[name]) for name in NAMES)] for title, figure in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = []
    for row in cells:
        figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *figures]))
    lines.insert(1, "─" * len(lines[0]))
    ratios = ", ".join(f"{title} {ratio:.1f}×" for title, ratio in _ratios(report))
    return "\n".join([*lines, "", f"compression, large ÷ small: {ratios}"])


def _high(model: dict[str, Any]) -> str:
    """Accuracy on x_high, which only the large net takes."""
    return f"{model['accuracy']:.2%}" if "accuracy_low" in model else "–"


def _ratios(report: dict[str, Any]) -> list[tuple[str, float]]:
    compression = report["compression"]
    return [
        ("parameters", compression["parameters"]),
        ("bytes", compression["bytes"]),
        ("multiply-adds", compression["macs"]),
        ("latency of 1", compression["latency"]["1"]),
        ("latency of 64", compression["latency"]["64"]),
    ]


def picture(path: str | Path, report: dict[str, Any], samples: dict[str, Any]) -> None:
    """Draw report.png: learning curves, test images with both nets' predictions, compression.

    samples: see `distill.Finished`. Raises ImportError without matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (
        rc_context({"text.parse_math": False}),  # a $ in a name is a $
        warnings.catch_warnings(action="ignore"),  # a letter that the font lacks is drawn as a box
    ):
        figure = Figure(figsize=(12, 8.5), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(_headline(report))
        areas: Any = figure.subfigures(3, 1, height_ratios=(4, 4.2, 2.6))
        top, middle, bottom = areas
        _draw_curves(top, report)
        _draw_samples(middle, report, samples)
        _draw_compression(bottom, report)
        write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _headline(report: dict[str, Any]) -> str:
    large, small = report["models"]["large"], report["models"]["small"]
    name = _printable(report["data"]["name"])
    return (
        f"{name}: a net of {small['parameters']:,} parameters reaches "
        f"{small['accuracy']:.1%} on low-resolution test images,\n"
        f"taught by one of {large['parameters']:,} that reaches {large['accuracy_low']:.1%} on "
        f"them and {large['accuracy']:.1%} on high resolution"
    )


def _printable(name: str) -> str:
    """A name, perhaps a file's, without the bytes that are no letters."""
    return name.encode(errors="replace").decode()


def _draw_curves(area: Any, report: dict[str, Any]) -> None:
    """Loss on the training images and accuracy on the test images, epoch by epoch."""
    from matplotlib.ticker import MaxNLocator

    of_loss, of_accuracy = area.subplots(1, 2)
    for name, title in NAMES.items():
        history = report["history"][name]
        epochs = [entry["epoch"] for entry in history]
        style = {"label": title, "color": COLOURS[name], "marker": ".", "linewidth": 1.5}
        of_loss.plot(epochs, [entry["loss"] for entry in history], **style)
        of_accuracy.plot(epochs, [100 * entry["accuracy"] for entry in history], **style)
    of_loss.set(
        title="training loss (to the teacher, or to the labels)",
        xlabel="epoch",
        yscale="log",
    )
    of_loss.yaxis.set_major_formatter("{x:g}")  # its own labels are formulas, which stay unparsed
    of_loss.yaxis.set_minor_formatter("")
    of_accuracy.set(title="test accuracy, % (small nets: low resolution)", xlabel="epoch")
    for axes in (of_loss, of_accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()


def _draw_samples(area: Any, report: dict[str, Any], samples: dict[str, Any]) -> None:
    """Test images of many classes in both resolutions, with what the nets see in them."""
    names = [_printable(name) for name in report["class_names"]]
    chosen = _chosen(samples["labels"], samples["large_low"], samples["small"])
    axes = area.subplots(2, len(chosen), squeeze=False)
    for column, n in enumerate(chosen):
        truth = int(samples["labels"][n])

        def guess(net: str, logits: str, n: int = n, truth: int = truth) -> str:
            predicted = int(samples[logits][n].argmax())
            return f"{net}: {names[predicted]}{'' if predicted == truth else ' ✗'}"

        image = samples["x_high"][n : n + 1]
        high = image[0].transpose(1, 2, 0)  # (32, 32, 3)
        low = low_resolution(image / 255.0)[0].transpose(1, 2, 0)  # (16, 16, 3)
        below = f"{guess('large', 'large_low')}\n{guess('small', 'small')}"
        for row, image, title in (
            (0, high, f"{names[truth]}\n{guess('large', 'large')}"),
            (1, low, below),
        ):
            axes[row, column].imshow(image, interpolation="nearest")
            axes[row, column].set_title(title, fontsize=7, color="#b00000" if "✗" in title else "k")
            axes[row, column].set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("x_high")
    axes[1, 0].set_ylabel("x_low")
    area.suptitle("test images, truth, and predictions (✗: wrong)", fontsize=11)


def _chosen(labels: np.ndarray, large: np.ndarray, small: np.ndarray, count: int = 12) -> list[int]:
    """Images for the picture: the first of each class, then some where the nets disagree."""
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    differ = np.flatnonzero(large.argmax(axis=1) != small.argmax(axis=1)).tolist()
    differ = [n for n in differ if n not in firsts][:2]
    return [*firsts[: count - len(differ)], *differ]


def _draw_compression(area: Any, report: dict[str, Any]) -> None:
    """How many times less the small net takes."""
    axes = area.subplots()
    titles, ratios = zip(*_ratios(report), strict=True)
    bars = axes.barh(titles, ratios, color=COLOURS["small"])
    axes.bar_label(bars, [f"{ratio:.1f}×" for ratio in ratios], padding=3)
    axes.invert_yaxis()
    axes.set(title="large net ÷ small net", xlim=(0, 1.12 * max(ratios)))
