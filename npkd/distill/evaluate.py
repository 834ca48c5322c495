"""Figures of nets: what is measured of their outputs, size and speed, and how figures are called.

`models` puts together what report.json holds of each.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from npkd.distill.outputs import Net, Outputs, batches_of
from npkd.distill.tasks.task import Figures, Task
from npkd.nets import Network
from npkd.training import Diverged

WARM_UP_RUNS, LATENCY_RUNS = 3, 30
LATENCY_SECONDS = 5.0  # after which no more runs are begun: of large images each takes long


# Of outputs


@np.errstate(under="ignore")  # rounding, as in threads.run
def measured(
    task: Task, outputs: Outputs, labels: np.ndarray, teacher: Outputs | None = None
) -> Figures:
    """The task's figures of each image, with a teacher also how near to its outputs these are.

    labels: of the images that the outputs are of. Raises Diverged if outputs are not finite.
    """
    parts = []
    for part in batches_of(len(outputs)):
        y = outputs[part]
        if not np.isfinite(y).all():
            raise Diverged("outputs are no longer finite")
        parts.append(task.measure(y, task.truth(outputs.images[part], labels[part])))
        if teacher is not None:
            parts[-1] |= task.compare(y, teacher[part])
    return {name: np.concatenate([figures[name] for figures in parts]) for name in parts[0]}


@np.errstate(under="ignore")  # rounding, as in threads.run
def against_truth(task: Task, outputs: Outputs, labels: np.ndarray) -> dict[str, float]:
    """The mean loss to the truth over the images, and the task's figures. See `measured`."""
    total = 0.0
    for part in batches_of(len(outputs)):
        loss, _ = task.loss(outputs[part], task.truth(outputs.images[part], labels[part]))
        total += float(loss) * len(labels[part])
    return {task.loss_name: total / len(outputs), **means(measured(task, outputs, labels))}


def means(figures: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Over the images."""
    return {name: float(np.mean(values)) for name, values in figures.items()}


def require_finite(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise Diverged for outputs that are finite, yet too large to reckon with."""
    for name, of_one in figures.items():
        for key, value in of_one.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise Diverged(f"{name}: {key} is {value}; try lower learning rates")


# Of nets


def models(
    task: Task,
    networks: Mapping[str, Network],
    tested: Mapping[str, Figures],
    seconds: Mapping[str, float],
) -> dict[str, dict[str, Any]]:
    """What report.json holds of the three nets, by name.

    tested: by name, and "large_low" where the large net takes images in full resolution. seconds:
    that their trainings took. Figures on training images are those of unaltered ones.
    """
    found = {
        name: model(task, name, network, tested[name], seconds[name])
        for name, network in networks.items()
    }
    if task.takes_high:
        found["large"] |= low(task, tested["large_low"])
    found["large"] |= {"mse": 0.0, **task.same}
    return found


def model(task: Task, name: str, net: Net, tested: Figures, seconds: float) -> dict[str, Any]:
    """What report.json holds of one net, shown what the task's net of this name is."""
    images, labels = task.dataset.train_images, task.dataset.train_labels
    trained = means(measured(task, Outputs(net, images, task.view(name)), labels))
    return {
        **size(net),
        **means(tested),
        **{f"train_{figure}": value for figure, value in trained.items()},
        "train_seconds": seconds,
        "latency_ms": latencies(net),
    }


def low(task: Task, tested: Figures) -> dict[str, float]:
    """The figures of a large net that is shown x_low brought back, as report.json calls them."""
    of_low = means(tested)
    return {f"{name}_low": of_low[name] for name in task.figures}


def compression(large: Mapping[str, Any], small: Mapping[str, Any]) -> dict[str, Any]:
    """How many times less the small net takes."""
    ratios = {key: large[key] / small[key] for key in ("parameters", "bytes", "macs")}
    latency = {b: large["latency_ms"][b] / small["latency_ms"][b] for b in large["latency_ms"]}
    return ratios | {"latency": latency}


def size(net: Net) -> dict[str, int]:
    """Parameters, their bytes, and the multiply-adds that one image takes."""
    return {
        "parameters": sum(theta.size for theta in net.params.values()),
        "macs": net.macs(),
        "bytes": net.nbytes,
    }


def latencies(network: Net) -> dict[str, float]:
    """Milliseconds for one image and for 64 at once, by their number as text."""
    return {str(count): latency_ms(network, count) for count in (1, 64)}


def latency_ms(network: Net, batch_size: int) -> float:
    """Milliseconds of one forward pass of a batch: the median of 30, after a few to warm up.

    Of slow ones it is that of as many as begin within LATENCY_SECONDS. The time does not depend on
    what the images show, so they are all zeros.
    """
    x = np.zeros((batch_size, *network.image_shape), network.dtype)
    for _ in range(WARM_UP_RUNS):
        network.features(x, [network.last])
    seconds: list[float] = []
    while len(seconds) < LATENCY_RUNS and sum(seconds) < LATENCY_SECONDS:
        start = time.perf_counter()
        network.features(x, [network.last])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3


# How figures are called and written
WORDS = {
    "cross_entropy": ("cross-entropy", "{:.3f}"),
    "l2": ("½‖y − x_high‖²", "{:.3f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
}


def in_words(figures: Mapping[str, float]) -> str:
    """Figures as text, those that have a name here: "accuracy 97.60%"."""
    named = [(*WORDS[name], value) for name, value in figures.items() if name in WORDS]
    return ", ".join(f"{name} {form.format(value)}" for name, form, value in named)
