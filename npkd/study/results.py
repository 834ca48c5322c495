"""What a study found: means, 95 % intervals, and differences to the net that learns from labels.

Intervals are Student's t over the seeds: mean ± t₀.₉₇₅(n − 1) · s/√n, with s the standard
deviation over n seeds (Student 1908). A difference is taken seed by seed, of two nets that had the
same first weights and as many updates on images in the same order, so what a seed does to both
alike cancels. Where the interval of a difference holds 0, no difference is seen. Each interval is
for itself: of twenty settings that make no difference one is seen to, on average.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.special

from npkd import __version__
from npkd.data import Dataset
from npkd.distill.evaluate import WORDS
from npkd.distill.tasks import TASKS
from npkd.files import one_line
from npkd.printing.text import aligned
from npkd.study.cells import Figures, Source
from npkd.study.plan import Cell, Setting, Study, labels_cell, small_cell

UNITS = {"accuracy": ("points", 100.0, 1), "psnr": ("dB", 1.0, 2)}  # and a factor, and decimals
MOST_LETTERS = 70  # of a setting's name in a line
VERDICTS = {
    "ahead": "ahead",
    "behind": "behind",
    "none": "no difference seen",
    "few": "too few seeds",
    "same": "",
}


@dataclass(frozen=True)
class Interval:
    """The mean of some values, and half the width of its 95 % interval; None for one value."""

    mean: float
    half: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval | None":
        """That of these values; None if there are none."""
        if not values:
            return None
        mean = float(np.mean(values))
        if len(values) == 1:
            return cls(mean, None)
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return cls(mean, float(scipy.special.stdtrit(len(values) - 1, 0.975)) * error)

    @property
    def verdict(self) -> str:
        """On a difference: a key of VERDICTS."""
        if self.half is None:
            return "few"
        if abs(self.mean) <= self.half:
            return "none"
        return "ahead" if self.mean > 0 else "behind"


def report(
    study: Study,
    source: Source,
    dataset: Dataset,
    figures: Mapping[str, Figures],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """What study.json holds; figures of cells, and reasons of those that failed, by their keys."""
    main = main_figure(study.task)
    settings = [
        _of_setting(setting, study.seeds, main, figures, failed) for setting in study.settings
    ]
    return {
        "npkd": __version__,
        "task": study.task,
        "data": {
            "name": dataset.name,
            "train": len(dataset.train_labels),
            "test": len(dataset.test_labels),
            "image_shape": list(dataset.image_shape),
            **source.reading,
            "held_out": source.held_out,
            "sha256": source.digest,
        },
        "seeds": list(study.seeds),
        "figure": main,
        "settings": settings,
    }


def main_figure(task: str) -> str:
    """The figure that settings are compared by."""
    return TASKS[task].figures[0]


def tested_on(report: Mapping[str, Any]) -> str:
    """Which images the figures are of."""
    return "held-out training images" if report["data"]["held_out"] else "test images"


def _of_setting(
    setting: Setting,
    seeds: Sequence[int],
    main: str,
    figures: Mapping[str, Figures],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """The figures of one setting over the seeds."""
    runs = [setting.at(seed) for seed in seeds]
    small, labels = [small_cell(run) for run in runs], [labels_cell(run) for run in runs]
    pairs = [
        figures[one.key][main] - figures[other.key][main]
        for one, other in zip(small, labels, strict=True)
        if one.key in figures and other.key in figures
    ]
    same = all(one.key == other.key for one, other in zip(small, labels, strict=True))
    difference = None if same else Interval.of(pairs)
    config = asdict(setting.config)
    del config["seed"], config["preset"]
    large = [cell.teacher for cell in small if cell.teacher is not None]
    return {
        "name": setting.name,
        "config": config,
        "small": _over_seeds(small, seeds, figures),
        "labels": _over_seeds(labels, seeds, figures),
        "large": _over_seeds(large, seeds, figures) if large else {},
        "difference": None if difference is None else asdict(difference) | {"values": pairs},
        "verdict": "same" if same else "few" if difference is None else difference.verdict,
        "failed": {
            f"seed {seed}, {cell.net}": failed[cell.key]
            for cells in (large, labels, small)
            for seed, cell in zip(seeds, cells, strict=False)
            if cell.key in failed
        },
    }


def _over_seeds(
    cells: Sequence[Cell], seeds: Sequence[int], figures: Mapping[str, Figures]
) -> dict[str, Any]:
    """Each figure: its values by seed, their mean, and half the width of the interval."""
    names = next((list(figures[cell.key]) for cell in cells if cell.key in figures), [])
    found = {}
    for name in names:
        values = {
            str(seed): figures[cell.key][name]
            for seed, cell in zip(seeds, cells, strict=True)
            if cell.key in figures
        }
        interval = Interval.of(list(values.values()))
        assert interval is not None
        found[name] = {**asdict(interval), "values": values}
    return found


def table(report: Mapping[str, Any]) -> str:
    """The settings, a line each: the teacher, the distilled net, from labels, the difference."""
    main = report["figure"]
    unit, scale, _ = UNITS[main]
    called = WORDS[main][0] + (", %" if scale == 100 else f", {unit}")
    head = ["", "teacher", "distilled", "from labels", f"difference, {unit}", ""]
    rows = [head]
    for setting in report["settings"]:
        small, labels = setting["small"].get(main), setting["labels"].get(main)
        same = setting["verdict"] == "same"
        rows.append(
            [
                shortened(setting["name"]),
                written(setting["small"].get(f"teacher_{main}"), main),
                "–" if same else written(small, main),
                written(labels, main),
                written(setting["difference"], main, sign="+"),
                VERDICTS[setting["verdict"]],
            ]
        )
    count = len(report["seeds"])
    return "\n".join(
        [
            f"{called} on {report['data']['test']:,} {tested_on(report)}: mean of {count} seed(s) "
            "± half of its 95 % interval",
            "",
            *aligned(rows, left=(0, 5)),
        ]
    )


def shortened(name: str) -> str:
    """A setting's name in one line; a long one loses its middle, as such names differ in the end.

    Somebody made it up, with what a terminal would obey, perhaps.
    """
    name, half = one_line(name), MOST_LETTERS // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[-half + 1 :]}"


def written(interval: Mapping[str, Any] | None, figure: str, sign: str = "-") -> str:
    """An interval of this figure as text: "64.3 ± 0.8". sign: "+" to have one on all means."""
    if interval is None:
        return "–"
    _, scale, decimals = UNITS[figure]
    text = f"{scale * interval['mean']:{sign}.{decimals}f}"
    if interval["half"] is not None:
        text += f" ± {scale * interval['half']:.{decimals}f}"
    return text.replace("-", "−")


def conclusion(report: Mapping[str, Any]) -> list[str]:
    """What the table says, in sentences: who is ahead, who is behind, where no difference is."""
    unit, _, _ = UNITS[report["figure"]]
    lines = []
    for verdict, words in (
        ("ahead", "ahead of the net from labels"),
        ("behind", "behind the net from labels"),
        ("none", "no difference to the net from labels is seen"),
        ("few", "too few seeds for an interval"),
    ):
        named = [one for one in report["settings"] if one["verdict"] == verdict]
        if verdict != "few":
            named.sort(key=lambda one: -one["difference"]["mean"])
        if named:
            lines.append(f"{words}:")
        for one in named:
            text = f"    {shortened(one['name'])}"
            if one["difference"]:
                text += f": {written(one['difference'], report['figure'], '+')} {unit}"
            lines.append(text)
    failed = {
        f"{name} of {shortened(one['name'])}: {reason}"
        for one in report["settings"]
        for name, reason in one["failed"].items()
    }
    if failed:
        lines += ["failed, and left out:", *(f"    {one_line(text)}" for text in sorted(failed))]
    return lines
