"""What a study found: means, 95 % intervals, and differences to the net that learns from labels.

A difference is taken seed by seed and image by image, of two nets that had the same first weights
and as many updates on images in the same order (but for what the study says that one of them has
otherwise), so what a seed or an image does to both alike cancels. Intervals of the task's first
figure are for any seeds and images such as these, those of other figures for any seeds
(`analysis`). Each is for itself. What is said of a setting (VERDICTS) goes by p-values that are
adjusted after Holm for the number of settings: where no setting makes a difference, one is found in
5 studies of 100 at most. What no study of one training set can know is what another one would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from npkd import __version__, distill
from npkd.data import Dataset
from npkd.distill import evaluate
from npkd.distill.evaluate import WORDS
from npkd.distill.report.table import names_of
from npkd.distill.tasks import TASKS
from npkd.files import one_line
from npkd.objectives import Term
from npkd.printing.text import aligned
from npkd.study.analysis import LEVEL, Interval, holm, over_seeds, over_seeds_and_images
from npkd.study.cells import Source
from npkd.study.plan import Cell, Setting, Study
from npkd.study.running import Done

UNITS = {  # and a factor, and decimals
    "accuracy": ("points", 100.0, 1),
    "psnr": ("dB", 1.0, 2),
    "agreement": ("points", 100.0, 1),
    "ece": ("points", 100.0, 1),
    "nll": ("nats", 1.0, 3),
    "brier": ("", 1.0, 3),
}
MOST_DECIMALS = 6
MOST_LETTERS = 60  # of a setting's name in a line
VERDICTS = {
    "beats": "BEATS",
    "loses": "LOSES",
    "none": "NO DIFFERENCE FOUND",
    "few": "too few seeds",
    "failed": "FAILED",
    "same": "the same net",
}


def report(
    study: Study,
    source: Source,
    dataset: Dataset,
    done: Mapping[str, Done],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """What study.json holds; cells that are done, and reasons of those that failed, by their keys.

    A difference has its interval's mean and half, the values by seed, the p-value alone and
    adjusted, and the smallest difference that would have been found in 80 studies of 100. Those of
    other figures have mean, half and values. The same study has the same report, to the last bit.
    """
    main = main_figure(study.task)
    settings = [_of_setting(setting, study.seeds, main, done, failed) for setting in study.settings]
    found = [one["difference"] for one in settings if one["verdict"] == ""]
    for difference, p in zip(found, holm([one["p"] for one in found]), strict=True):
        difference["adjusted_p"] = p
    for one in settings:
        one["verdict"] = one["verdict"] or _verdict(one["difference"])
    return {
        "npkd": __version__,
        "question": study.question,
        "expected": study.expected,
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


def nets_of(study: Study, dataset: Dataset) -> list[dict[str, Any]]:
    """The nets of a study, each once: size, and the milliseconds they take on this machine now."""
    both = (config for one in study.settings for config in (one.config, one.against))
    configs = {(c.large, c.small, c.small_input): c for c in both}
    found: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {}
    for config in configs.values():
        run = distill.Run(dataset, config)
        for model, network in ((config.large, run.large), (config.small, run.networks["small"])):
            if (model, network.image_shape) not in found:
                found[model, network.image_shape] = {
                    "model": model,
                    "image_shape": list(network.image_shape),
                    **evaluate.size(network),
                    "latency_ms": evaluate.latencies(network),
                }
    return list(found.values())


def main_figure(task: str) -> str:
    """The figure that settings are compared by."""
    return TASKS[task].figures[0]


def without(report: Mapping[str, Any]) -> str:
    """How the small net that has no teacher is called: "from labels"."""
    return names_of(report["task"])["small_from_labels"].removeprefix("small, ")


def tested_on(report: Mapping[str, Any]) -> str:
    """Which images the figures are of."""
    return "held-out training images" if report["data"]["held_out"] else "test images"


def _of_setting(
    setting: Setting,
    seeds: Sequence[int],
    main: str,
    done: Mapping[str, Done],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """The figures of one setting over the seeds; no verdict yet where there is a p-value.

    Where a seed's training failed, all figures are of the seeds that both small nets have.
    """
    with_none, labels, small = zip(*map(setting.cells, seeds), strict=True)
    large = [cell for cell in with_none if cell is not None]
    same = all(one.key == other.key for one, other in zip(small, labels, strict=True))
    pairs = {
        str(seed): done[one.key].by_image - done[other.key].by_image
        for seed, one, other in zip(seeds, small, labels, strict=True)
        if not same and one.key in done and other.key in done
    }
    difference = None
    if pairs:
        interval = over_seeds_and_images(np.array([*pairs.values()]))
        more = {"p": interval.p, "adjusted_p": interval.p, "smallest": interval.smallest}
        difference = _stored(interval, {seed: float(y.mean()) for seed, y in pairs.items()}) | more
    config = asdict(setting.config)
    del config["seed"], config["preset"]
    changed = {
        name: value
        for name, value in asdict(setting.against).items()
        if name in config and value != config[name]
    }
    few = difference is None or difference["p"] is None
    reasons = {
        f"seed {seed}, {cell.net}": failed[cell.key]
        for cells in (large, labels, small)
        for seed, cell in zip(seeds, cells, strict=False)
        if cell.key in failed
    }
    kept = [seed for seed in seeds if str(seed) in pairs] or seeds
    of_small, of_labels, of_large = (
        _over_seeds(dict(zip(seeds, of, strict=False)), kept, main, done)
        for of in (small, labels, large)
    )
    return {
        "name": setting.name,
        "config": config,
        "against": changed,
        "small": of_small,
        "labels": of_labels,
        "large": of_large,
        "difference": difference,
        "others": _differences(of_small, of_labels, main) if pairs else {},
        "verdict": "same" if same else "" if not few else "failed" if reasons else "few",
        "failed": reasons,
    }


def _verdict(difference: Mapping[str, Any]) -> str:
    """What is said of a difference with a p-value."""
    if difference["adjusted_p"] >= 1 - LEVEL:
        return "none"
    return "beats" if difference["mean"] > 0 else "loses"


def _over_seeds(
    cells: Mapping[int, Cell], seeds: Sequence[int], main: str, done: Mapping[str, Done]
) -> dict[str, Any]:
    """Each figure: its values by seed, their mean, and half the width of the interval."""
    of_seeds = {
        str(seed): done[cells[seed].key]
        for seed in seeds
        if seed in cells and cells[seed].key in done
    }
    names = next((list(one.figures) for one in of_seeds.values()), [])
    found = {}
    for name in names:
        values = {seed: one.figures[name] for seed, one in of_seeds.items()}
        interval = over_seeds(list(values.values()))
        if name == main:
            interval = over_seeds_and_images(np.array([one.by_image for one in of_seeds.values()]))
        found[name] = _stored(interval, values)
    return found


def _differences(small: Mapping[str, Any], labels: Mapping[str, Any], main: str) -> dict[str, Any]:
    """Of each figure but the main one that both nets have, over the seeds that both have."""
    found = {}
    for name in (name for name in small if name in labels and name != main):
        of_small, of_labels = small[name]["values"], labels[name]["values"]
        values = {seed: y - of_labels[seed] for seed, y in of_small.items() if seed in of_labels}
        found[name] = _stored(over_seeds(list(values.values())), values)
    return found


def _stored(interval: Interval, values: Mapping[str, float]) -> dict[str, Any]:
    return {"mean": interval.mean, "half": interval.half, "values": dict(values)}


def table(report: Mapping[str, Any]) -> str:
    """The settings, a line each, below `heading`."""
    return "\n".join([heading(report), "", *aligned(rows(report), left=(0, 7))])


def heading(report: Mapping[str, Any]) -> str:
    """What `rows` are of."""
    unit, scale, _ = UNITS[report["figure"]]
    called = WORDS[report["figure"]][0]
    count, several = len(report["seeds"]), number_tested(report)
    return (
        f"{called}, {f'%, and differences, {unit}' if scale == 100 else unit}, on "
        f"{report['data']['test']:,} {tested_on(report)}: mean of {count} seed(s) ± half of its "
        f"95 % interval, for such seeds and images; p and verdict adjusted for {several} "
        'setting(s); "found from": what would have been found, tested by itself, in 80 studies '
        "of 100"
    )


def number_tested(report: Mapping[str, Any]) -> int:
    """Of how many settings there is a p-value: that it is adjusted for."""
    return sum(one["verdict"] in ("beats", "loses", "none") for one in report["settings"])


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The settings: the teacher, the distilled net, from labels, the difference."""
    main = report["figure"]
    titles = ["teacher", "distilled", without(report), "difference", "found from", "p"]
    found = [["", *titles, ""]]
    for setting in report["settings"]:
        small, labels = setting["small"].get(main), setting["labels"].get(main)
        same, difference = setting["verdict"] == "same", setting["difference"] or {}
        seen, p = difference.get("smallest"), difference.get("adjusted_p")
        count = len(difference.get("values", report["seeds"]))
        found.append(
            [
                shortened(setting["name"])
                + (f" ({count} of the seeds)" if count < len(report["seeds"]) else ""),
                written(setting["small"].get(f"teacher_{main}"), main),
                "–" if same else written(small, main),
                written(labels, main),
                written(setting["difference"], main, sign="+"),
                "–" if seen is None else written({"mean": seen, "half": None}, main),
                "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
                VERDICTS[setting["verdict"]],
            ]
        )
    return found


HEADING_OF_OTHERS = (
    "the same nets otherwise, with intervals for such seeds; the best epoch is chosen on these "
    "images, and flatters"
)


def table_of_others(report: Mapping[str, Any]) -> str:
    """The other figures, a line for each net, below their heading."""
    return "\n".join([HEADING_OF_OTHERS, "", *aligned(rows_of_others(report), left=(0, 1))])


def rows_of_others(report: Mapping[str, Any]) -> list[list[str]]:
    """Best epoch, calibration, agreement with the teacher."""
    main = report["figure"]
    others = {f"best_{main}": "best epoch", "nll": "−log p", "brier": "Brier", "ece": "ECE, %"}
    offered = {name for one in report["settings"] for name in one["labels"]}
    shown = {name: words for name, words in others.items() if name in offered}
    compared = any("agreement" in one["small"] for one in report["settings"])
    found = [["", "net", *shown.values(), *["as the teacher, %"] * compared]]
    listed: set[str] = set()
    for setting in report["settings"]:
        for net, called in (
            ("labels", without(report)),
            ("small", "distilled"),
            ("others", "difference"),
        ):
            figures, sign = setting[net], "+" if net == "others" else "-"
            if not figures or (net != "labels" and setting["verdict"] == "same"):
                continue
            cells = [written(figures.get(name), name.removeprefix("best_"), sign) for name in shown]
            as_teacher = [written(figures.get("agreement"), "agreement")] * compared
            row = [called, *cells, *as_teacher]
            if net != "labels" or repr(row) not in listed:  # one from labels serves many settings
                listed.add(repr(row))
                found.append([shortened(setting["name"]), *row])
    return found


def rows_of_settings(report: Mapping[str, Any]) -> list[list[str]]:
    """In what the settings differ, and what the net from labels has otherwise: `against`.

    Only a head where there is nothing to say.
    """
    settings = report["settings"]
    configs = [one["config"] for one in settings]
    names = [n for n in configs[0] if any(c[n] != configs[0][n] for c in configs)]
    compared = any(one["against"] for one in settings)
    found = [["", *names, *[f"the net {without(report)} has"] * compared]]
    if found == [[""]]:
        return found
    for one in settings:
        against = [f"{name} {_in_words(value)}" for name, value in one["against"].items()]
        cells = [_in_words(one["config"][name]) for name in names]
        found.append([shortened(one["name"]), *cells, *[", ".join(against) or "–"] * compared])
    return found


def _in_words(value: Any) -> str:
    """What a setting is, as study.json holds it."""
    if isinstance(value, list | tuple):  # the loss
        layers = ("student", "teacher")
        return " + ".join(str(Term(**one | {n: tuple(one[n]) for n in layers})) for one in value)
    return "all" if value is None else str(value)


HEADING_OF_NETS = "the nets, on this machine: milliseconds from images to outputs, one image or 64"


def table_of_nets(nets: Sequence[Mapping[str, Any]]) -> str:
    """What `nets_of` gives, a line each, below their heading."""
    return "\n".join([HEADING_OF_NETS, "", *aligned(rows_of_nets(nets), left=(0, 1))])


def rows_of_nets(nets: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Size and latency of each net."""
    found = [["", "images", "parameters", "multiply-adds", "ms, 1", "ms, 64"]]
    for net in nets:
        shape = "×".join(map(str, net["image_shape"]))
        times = (f"{net['latency_ms'][b]:.2f}" for b in ("1", "64"))
        found.append([net["model"], shape, f"{net['parameters']:,}", f"{net['macs']:,}", *times])
    return found


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
    half = interval["half"]
    if half and round(scale * half, MOST_DECIMALS):
        while round(scale * half, decimals) == 0:
            decimals += 1  # an interval is not nothing
    else:
        half = None
    text = f"{scale * interval['mean']:{sign}z.{decimals}f}"
    if half:
        text += f" ± {scale * half:.{decimals}f}"
    return text.replace("-", "−")


def conclusion(report: Mapping[str, Any]) -> list[str]:
    """What the table says, in sentences: who is ahead, who is behind, where no difference is."""
    unit, _, _ = UNITS[report["figure"]]
    lines, other = [], f"the net {without(report)}"
    for verdict, words in (
        ("beats", f"BEATS {other}"),
        ("loses", f"LOSES to {other}"),
        ("none", f"NO DIFFERENCE FOUND to {other}"),
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
    if failed := failures(report):
        lines += ["failed, and left out:", *(f"    {text}" for text in failed)]
    return lines


def failures(report: Mapping[str, Any]) -> list[str]:
    """Which trainings failed, and why."""
    called, failed = names_of(report["task"]), set()
    for one in report["settings"]:
        for name, reason in one["failed"].items():
            seed, net = name.split(", ")
            which = f"{called[net]}, {seed}, of {shortened(one['name'])}"
            failed.add(one_line(f"{which}: {reason.removeprefix(f'{net}: ')}"))
    return sorted(failed)
