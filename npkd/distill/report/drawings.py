"""Pictures of a run: report.png, and the single ones of the page. All of this needs matplotlib.

They are drawn from what report.json holds, from `samples` (`distill.Finished.samples`), and from
the nets' weights. Colours stay apart in grey and for the colour-blind (Okabe and Ito 2008), and no
line is told by its colour alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npkd.data import low_resolution
from npkd.data.recognised import counted
from npkd.distill.outputs import predictions
from npkd.distill.report.table import (
    beside_small,
    headline,
    names_of,
    nets_of,
    ratios_of,
    resolution,
)
from npkd.printing import pictures
from npkd.printing.text import short

STYLES: dict[str, dict[str, Any]] = {
    "large": {"color": "#0072b2", "linestyle": "-", "marker": "o"},
    "small": {"color": "#d55e00", "linestyle": "--", "marker": "s"},
    "small_from_labels": {"color": "#666666", "linestyle": "-.", "marker": "^"},
}
STYLES |= {  # in eight bits
    "large_int8": {"color": "#56b4e9", "linestyle": ":", "marker": "D"},
    "small_int8": {"color": "#e69f00", "linestyle": ":", "marker": "v"},
    "small_from_labels_int8": {"color": "#aaaaaa", "linestyle": ":", "marker": "<"},
}
WRONG = "#b00000"
TITLE = 7  # points, of what is said of an image

Samples = Mapping[str, np.ndarray]
Report = Mapping[str, Any]


def picture(report: dict[str, Any], samples: Samples) -> bytes:
    """report.png: learning curves, test images with what both nets make of them, compression.

    Raises what `png` does.
    """
    more = 3.5 if report["task"] == "super-resolve" else 0.0  # it has more rows of images

    def draw(figure: Any) -> None:
        figure.suptitle(headline(report))
        top, middle, bottom = figure.subfigures(3, 1, height_ratios=(4, 4.2 + more, 2.6))
        left, right = top.subfigures(1, 2)
        loss(left, report)
        quality(right, report)
        images(middle, report, samples)
        compression(bottom, report)

    return pictures.png(draw, width=12, height=8.5 + more, dpi=110)


def loss(area: Any, report: Report) -> None:
    """The loss on the training images, epoch by epoch."""
    axes = _by_epoch(area, report, "loss", 1)
    axes.set(title="training loss (to the teacher, or to the truth)")
    low, high = axes.dataLim.intervaly
    if high > 10 * low > 0:  # else a logarithmic axis may have no label at all
        axes.set(yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")  # its own labels are formulas, which stay unparsed
        axes.yaxis.set_minor_formatter("")
    axes.legend()


def quality(area: Any, report: Report) -> None:
    """What counts on the test images, epoch by epoch."""
    if report["task"] == "super-resolve":
        axes = _by_epoch(area, report, "psnr", 1)
        bicubic = report["upsampling"]["bicubic"]["psnr"]
        axes.axhline(bicubic, color="k", linestyle=":", linewidth=1, label="bicubic")
        axes.set(title="test PSNR, dB")
    else:
        axes = _by_epoch(area, report, "accuracy", 100)
        axes.set(title=f"test accuracy, % (small nets: {resolution(report)} resolution)")
    axes.legend()


def _by_epoch(area: Any, report: Report, figure: str, scale: float) -> Any:
    """Axes with the history of one figure of the three nets."""
    from matplotlib.ticker import MaxNLocator

    axes, most = area.subplots(), 1
    for name, label in names_of(report["task"]).items():
        history = report["history"][name]
        if not history:  # of a large net that was trained before
            continue
        epochs = [entry["epoch"] for entry in history]
        style = {"label": label, "linewidth": 1.5, "markersize": 4, **STYLES[name]}
        axes.plot(epochs, [scale * entry[figure] for entry in history], **style)
        most = max(most, len(epochs))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", xlim=(0.5, most + 0.5))
    axes.grid(alpha=0.3)
    return axes


def compression(area: Any, report: Report) -> None:
    """How many times less the small net takes."""
    axes = area.subplots()
    titles, ratios = zip(*ratios_of(dict(report)), strict=True)
    bars = axes.barh(titles, ratios, color=STYLES["small"]["color"])
    axes.bar_label(bars, [f"{ratio:.1f}×" for ratio in ratios], padding=3)
    axes.invert_yaxis()
    axes.set(title="large net ÷ small net", xlim=(0, 1.12 * max(ratios)))


def images(area: Any, report: Report, samples: Samples) -> None:
    """Some test images with what the nets make of them, as the task has it."""
    if report["task"] == "super-resolve":
        resolved(area, samples, range(len(samples["firsts"])))
        area.suptitle("test images, from those where the small net does worst to best", fontsize=11)
    else:
        firsts, places = len(samples["firsts"]), list(range(len(samples["chosen"])))
        differ = places[firsts:][:2]
        classified(area, report, samples, [*places[: min(firsts, 12 - len(differ))], *differ])
        area.suptitle("test images, truth, and predictions (✗: wrong)", fontsize=11)


def classified(area: Any, report: Report, samples: Samples, places: list[int]) -> None:
    """Test images in both resolutions, with what the nets see in them: places in `chosen`."""
    names = report["class_names"]
    rows: dict[str, list[tuple[np.ndarray, str]]] = {"x_high": [], "x_low": []}
    for place in places:
        n = samples["chosen"][place]
        truth = int(samples["labels"][n])

        def guess(net: str, name: str, n: int = n, truth: int = truth) -> str:
            predicted = int(predictions(samples[f"logits/{name}"][n : n + 1])[0])
            return f"{net}: {short(names[predicted])}{'' if predicted == truth else ' ✗'}"

        image = samples["x_high"][place : place + 1]
        above, below = guess("large", "large"), guess("large", "large_low")
        small = guess("small", "small")
        if resolution(report) == "high":
            above = f"{above}\n{small}"
        else:
            below = f"{below}\n{small}"
        rows["x_high"].append((in_colours(image[0]), f"{short(names[truth])}\n{above}"))
        rows["x_low"].append((in_colours(low_resolution(image / 255.0)[0]), below))
    _gallery(area, rows)


def _gallery(area: Any, rows: Mapping[str, list[tuple[np.ndarray, str]]]) -> None:
    """Rows of images (H, W, 3), each with a title above it, in columns of width 1.

    They share one pair of axes: a pair for each takes matplotlib seconds.
    """
    axes, columns, bottom = area.subplots(), max(map(len, rows.values())), 0.0
    columns_in_an_inch = columns * area.dpi / area.bbox.width
    rows_in_an_inch = 1.25 * len(rows) * area.dpi / area.bbox.height
    line = TITLE * 1.4 / 72 * max(columns_in_an_inch, rows_in_an_inch)  # of a title, in columns
    for label, images in rows.items():
        sizes = [0.94 / max(image.shape[:2]) * np.array(image.shape[:2]) for image, _ in images]
        tall = max(height for height, _ in sizes)
        lines = max(title.count("\n") + 1.3 if title else 0.0 for _, title in images)
        bottom += tall + max(line * lines, 0.06)
        for column, ((image, title), (height, width)) in enumerate(zip(images, sizes, strict=True)):
            left, top = column + (1 - width) / 2, bottom - (tall + height) / 2
            extent = (left, left + width, top + height, top)
            axes.imshow(image, extent=extent, interpolation="nearest")
            style = {"fontsize": TITLE, "color": WRONG if "✗" in title else "k"}
            axes.text(column + 0.5, top, title, ha="center", va="bottom", **style)
        axes.text(0, bottom - tall / 2, label, rotation=90, ha="right", va="center", fontsize=8)
    axes.set(xlim=(-2 * line, columns), ylim=(bottom, 0), aspect="equal")
    axes.set_axis_off()


def in_colours(image: np.ndarray) -> np.ndarray:
    """An image as it is drawn: (C, H, W), C from 1 to 4  →  (H, W, 3).

    One channel is grey, of two the mean is. Of four the first three are drawn: the last may be how
    opaque a cell is, or light that nobody sees.
    """
    if len(image) == 2:
        image = image.mean(axis=0, keepdims=True).astype(image.dtype)
    if len(image) == 1:
        image = image.repeat(3, axis=0)
    return image[:3].transpose(1, 2, 0)


def resolved(area: Any, samples: Samples, places: range) -> None:
    """Test images in low resolution, and what is made of them: places in `chosen`."""
    rows = {"shown": "images/x_low", "bicubic": "images/bicubic", "small": "images/small"}
    rows |= {"large": "images/large", "truth": "x_high"}
    _gallery(
        area,
        {
            title: [(in_colours(samples[name][place]), "") for place in places]
            for title, name in rows.items()
        },
    )


def confusion(area: Any, report: Report, samples: Samples, net: str) -> None:
    """How often a net takes each class for each, on test images as the small nets see them."""
    names = report["class_names"]
    logits = samples[f"logits/{beside_small(report) if net == 'large' else net}"]
    counts = confusion_matrix(samples["labels"], logits)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = area.subplots()
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    if len(names) <= 20:
        for truth, predicted in zip(*np.nonzero(counts), strict=True):
            shade = "w" if shares[truth, predicted] > 0.5 else "k"
            text = f"{counts[truth, predicted]}"
            size = 8 if len(names) <= 10 else 5
            axes.text(predicted, truth, text, color=shade, ha="center", va="center", fontsize=size)
        axes.set_xticks(range(len(names)), map(short, names), rotation=90)
        axes.set_yticks(range(len(names)), map(short, names))
    axes.set(title=names_of(report["task"])[net], xlabel="predicted", ylabel="true")


def confusion_matrix(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """counts[k, l] of images of class k that are taken for l: (N,), (N, C) → (C, C)."""
    classes = logits.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predictions(logits)), 1)
    return counts


def against_teacher(area: Any, samples: Samples) -> None:
    """PSNR of each test image, the distilled net's against the large one's."""
    large, small, axes = samples["psnr/large"], samples["psnr/small"], area.subplots()
    axes.plot(large, small, ".", markersize=2, color=STYLES["small"]["color"], alpha=0.5)
    span = [min(large.min(), small.min()), max(large.max(), small.max())]
    axes.plot(span, span, "k:", linewidth=1)
    axes.set(title="PSNR of each test image, dB", xlabel="large", ylabel="small, distilled")


def gain(area: Any, samples: Samples) -> None:
    """How many images gain by distillation, and how much."""
    gains, axes = samples["psnr/small"] - samples["psnr/small_from_labels"], area.subplots()
    axes.hist(gains, bins=60, color=STYLES["small_from_labels"]["color"])
    axes.axvline(0, color="k", linestyle=":", linewidth=1)
    axes.set(
        title=f"gain by distillation, dB (mean {gains.mean():+.3f})",
        xlabel="small, distilled − small, from true images",
        ylabel="images",
    )


def against_size(area: Any, report: Report) -> None:
    """What counts, against the bytes of the parameters."""
    _against(area, report, lambda model: model["bytes"], "bytes", "{:,}")


def against_time(area: Any, report: Report) -> None:
    """What counts, against the latency of one image."""
    title = "latency of one image, ms"
    _against(area, report, lambda model: model["latency_ms"]["1"], title, "{:.2f}")


def _against(
    area: Any, report: Report, cost: Callable[[Any], float], title: str, form: str
) -> None:
    figure, scale, unit = "accuracy", 100, "accuracy on low resolution, %"
    if report["task"] == "super-resolve":
        figure, scale, unit = "psnr", 1, "PSNR, dB"
    axes = area.subplots()
    for name, label in nets_of(report).items():
        model = report["models"][name]
        marker = {"marker": STYLES[name]["marker"], "color": STYLES[name]["color"]}
        value = scale * model.get(f"{figure}_low", model[figure])
        style = {"linestyle": "", "markersize": 10, "markeredgewidth": 2, "fillstyle": "none"}
        axes.plot(cost(model), value, label=f"{label}: {value:.2f}", **style, **marker)
    ends = [cost(report["models"][name]) for name in ("large", "small")]
    axes.set(xlabel=title, ylabel=unit, xscale="log")
    axes.set_xticks(ends, [form.format(end) for end in ends])
    axes.set_xticks([], minor=True)
    axes.margins(0.25)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def throughput(area: Any, report: Report, threads: int) -> None:
    """Images in a second against how many are computed at once, by net and by what runs it."""
    axes, names = area.subplots(), nets_of(report)
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for one in report["speed"]:
        if one["threads"] == threads:
            rate = 1e3 * one["batch"] / one["ms"]
            found.setdefault((one["net"], one["by"]), []).append((one["batch"], rate))
    lines = dict(zip(dict.fromkeys(by for _, by in found), ("-", "--", ":", "-."), strict=False))
    for (net, by), points in found.items():
        style = {**STYLES.get(net, {}), "linestyle": lines.get(by, "-"), "markersize": 4}
        axes.plot(*zip(*sorted(points), strict=True), label=f"{names.get(net, net)}: {by}", **style)
    batches = sorted({batch for points in found.values() for batch, _ in points})
    axes.set(title=f"images in a second, {counted(threads, 'thread')}", xlabel="images at once")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")  # its own labels are formulas, which stay unparsed
    axes.yaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def filters(area: Any, weights: Mapping[str, np.ndarray]) -> None:
    """The first convolution's filters of each net, (O, C, k, k), each with its own contrast."""
    parts = area.subfigures(1, len(weights), width_ratios=[_columns(w) for w in weights.values()])
    for part, (title, w) in zip(np.atleast_1d(parts), weights.items(), strict=True):
        axes = part.subplots()
        axes.imshow(_mosaic(w), interpolation="nearest")
        axes.set_axis_off()
        part.suptitle(title, fontsize=10)


def _mosaic(w: np.ndarray) -> np.ndarray:
    """Filters (O, C, kh, kw) as one picture, row by row, with white between them."""
    columns, scale, gap = _columns(w), 8, 6  # dots of a cell, and between filters
    height, width = (scale * size + gap for size in w.shape[2:])
    picture = np.ones((-(-len(w) // columns) * height, columns * width, 3))
    for number, filter_ in enumerate(w):
        colours = in_colours(filter_)
        low, high = colours.min(), colours.max()
        shown = (colours - low) / max(high - low, np.finfo(w.dtype).tiny)
        row, column = height * (number // columns), width * (number % columns)
        cell = shown.repeat(scale, axis=0).repeat(scale, axis=1)
        picture[row : row + len(cell), column : column + cell.shape[1]] = cell
    return picture


def _columns(weight: np.ndarray) -> int:
    return 8 if len(weight) > 16 else 4
