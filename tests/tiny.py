"""A data set small enough for whole runs in tests: bright squares, their class the corner."""

from pathlib import Path
from typing import Any

import numpy as np

from npkd.data import Augmentation, Dataset
from npkd.distill import PRESETS, RATES, Config, Event, Finished, run


def dataset(
    train: int = 22, test: int = 12, classes: int = 4, channels: int = 3, size: int = 32
) -> Dataset:
    """Images (N, channels, size, size) of noise with a bright square in one of four corners."""
    rng = np.random.default_rng(0)
    half, margin, side = size // 2, size // 8, size // 4

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % classes
        images = rng.integers(0, 60, (count, channels, size, size), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = half * (label // 2) + margin, half * (label % 2) + margin
            image[:, row : row + side, column : column + side] += 180
        return images, labels

    names = tuple(f"corner {label}" for label in range(classes))
    return Dataset("corners", *part(train), *part(test), names, Augmentation(shift=1))


def file(folder: Path) -> str:
    """The data set as an .npz file in this folder: its path."""
    data = dataset()
    np.savez(
        folder / "corners.npz",
        images=data.train_images,
        labels=data.train_labels,
        test_images=data.test_images,
        test_labels=data.test_labels,
    )
    return str(folder / "corners.npz")


def config(**changes) -> Config:
    """One epoch of the large net and two of the small ones, in batches of 8."""
    settings = {"large_epochs": 1, "epochs": 2, "batch_size": 8, "seed": 3} | changes
    return Config(**{**vars(PRESETS["default"]), **settings})


# Of a run that super-resolves, which needs lower rates
RESOLVE: dict[str, Any] = {
    "task": "super-resolve",
    "teacher_views": "high",
    "versions": 2,
    "clip_norm": 50.0,
    **dict.fromkeys(RATES.values(), 3e-4),
}
# Of a run whose nets have batch norm, and so remember more than parameters
RESNETS: dict[str, Any] = {"large": "resnet8", "small": "resnet8"}
_FINISHED: dict[str, tuple[list[Event], Finished]] = {}


def finished(**changes) -> tuple[list[Event], Finished]:
    """`finish`, once for all tests that only look at what came of it."""
    key = repr(sorted(changes.items()))
    if key not in _FINISHED:
        _FINISHED[key] = finish(**changes)
    return _FINISHED[key]


def finish(data: Dataset | None = None, **changes) -> tuple[list[Event], Finished]:
    """All events of a run, and the last one."""
    events = list(run(data or dataset(), config(**changes)))
    assert isinstance(events[-1], Finished)
    return events, events[-1]
