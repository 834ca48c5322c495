"""What a study found: means, 95 % intervals, and differences to the net that learns from labels.

A difference is taken seed by seed and image by image, of two nets that had the same first weights
and as many updates on images in the same order (but for what the study says that one of them has
otherwise), so what a seed or an image does to both alike cancels. Intervals of the task's first
figure are for any seeds and images such as these, those of other figures for any seeds
(`analysis`). Each is for itself. The verdict on a setting goes by p-values that are adjusted after
Holm for the number of settings: where no setting makes a difference, one is found in 5 studies of
100 at most. What no study of one training set can know is what another one would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from npkd import __version__, distill
from npkd.data import Dataset
from npkd.distill import evaluate
from npkd.distill.tasks import TASKS
from npkd.study.analysis import LEVEL, Interval, holm, over_seeds, over_seeds_and_images
from npkd.study.cells import Source, in_bits
from npkd.study.plan import Cell, Setting, Study
from npkd.study.running import Done


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
    configs = {(c.large, c.small, c.small_input, c.bits): c for c in both}
    found: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {}
    for config in configs.values():
        run = distill.Run(dataset, config)
        small = config.small if config.bits == distill.Config.bits else f"{config.small}, 8 bits"
        for model, net in ((config.large, run.large), (small, in_bits(run, "small"))):
            if (model, net.image_shape) not in found:
                found[model, net.image_shape] = {
                    "model": model,
                    "image_shape": list(net.image_shape),
                    **evaluate.size(net),
                    "latency_ms": evaluate.latencies(net),
                }
    return list(found.values())


def main_figure(task: str) -> str:
    """The figure that settings are compared by."""
    return TASKS[task].figures[0]


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
