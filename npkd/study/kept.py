"""The form in which a cell is kept: its result as a checkpoint, of which nothing is trusted.

What a file says may have been made up: its digest shows damage, no more. So what is read is held
to all that can be known of such a cell beforehand.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from npkd.arguments import shown
from npkd.distill.outputs import Kept, digest_of
from npkd.distill.report.contents import DISTANCE, checked
from npkd.distill.state import require_alike
from npkd.distill.tasks import TASKS
from npkd.nets import Params
from npkd.study.cells import Result, Source, Teacher, figures_of
from npkd.study.plan import Cell

Arrays = dict[str, np.ndarray]
BY_IMAGE = "by_image"
NAME = re.compile(r"(low|high)/\d{1,10}")  # what `cells.kept_as` gives


class Form:
    """That of the cells of one study, as `checkpoint.write` takes and `checkpoint.load` gives it.

    source: the data set that they are trained on.
    """

    def __init__(self, source: Source):
        self.source = source
        self.large: dict[tuple[str, str], tuple[Params, Arrays]] = {}  # see `_large`

    def of(self, cell: Cell, result: Result) -> tuple[dict[str, Any], Arrays]:
        """A result in this form."""
        about = self._of(cell) | {"figures": result.figures, "seconds": result.seconds}
        arrays = {BY_IMAGE: result.by_image}
        if result.teacher is None:
            return about, arrays
        kept = result.teacher.kept
        arrays |= {f"large/{name}": theta for name, theta in result.teacher.params.items()}
        for name, one in kept.items():
            arrays |= {f"kept/{name}/{layer}": y for layer, y in one.outputs.items()}
        return about | {"kept": {name: one.of for name, one in kept.items()}}, arrays

    def read(self, cell: Cell, about: Mapping[str, Any], arrays: Arrays) -> Result:
        """The result that is in it.

        Raises ValueError, or what comes of a wrong type, if it cannot be one of this cell.
        """
        if any(about[name] != value for name, value in self._of(cell).items()):
            raise ValueError("it is of other settings or other data")
        kinds = figures_of(cell)
        held = checked(about, {"figures": kinds, "seconds": DISTANCE})
        figures = {name: float(held["figures"][name]) for name in kinds}
        seconds = float(held["seconds"])
        by_image, main = arrays.pop(BY_IMAGE), TASKS[cell.config.task].figures[0]
        expected = np.zeros(len(self.source.load().test_labels))
        require_alike({BY_IMAGE: by_image}, {BY_IMAGE: expected})
        if not abs(by_image.mean() - figures[main]) < 1e-6:
            raise ValueError(f"its {main} is not that of its images")
        if not all(kinds[main].fits(value) for value in (by_image.min(), by_image.max())):
            raise ValueError(f"the {main} of an image is not {kinds[main].words}")
        if cell.net != "large":
            require_alike(arrays, {})
            return Result(figures, by_image, seconds)
        return Result(figures, by_image, seconds, self._teacher(cell, about["kept"], arrays))

    def _of(self, cell: Cell) -> dict[str, Any]:
        """What it is a result of."""
        source = self.source
        return {"spec": cell.spec(), "data": source.digest, "held_out": source.held_out}

    def _teacher(self, cell: Cell, kept_of: Mapping[str, Any], arrays: Arrays) -> Teacher:
        """A large net, with the outputs that are kept of it."""
        params, outputs = self._large(cell)
        images = len(self.source.load().train_labels)
        expected = {f"large/{name}": theta for name, theta in params.items()}
        for name in kept_of:
            for layer in _below(arrays, f"kept/{name}/"):
                shape = images, *outputs[layer].shape[1:]
                expected[f"kept/{name}/{layer}"] = np.broadcast_to(outputs[layer], shape)
        require_alike(arrays, expected)
        params = {name: arrays[f"large/{name}"] for name in params}
        digest, kept = digest_of(params), {}
        for name, (of_net, of_images) in kept_of.items():
            if not NAME.fullmatch(name) or of_net != digest or not isinstance(of_images, str):
                raise ValueError(f"its outputs {shown(name)} are not of this net")
            kept[name] = Kept(_below(arrays, f"kept/{name}/"), (of_net, of_images))
        return Teacher(params, kept)

    def _large(self, cell: Cell) -> tuple[Params, Arrays]:
        """Parameters of a net of the same shapes, and the outputs of its layers for one image."""
        config = cell.config
        key = config.task, config.large
        if key not in self.large:
            dataset = self.source.load()
            net, _ = TASKS[config.task](dataset, config).networks(dataset.num_classes, 0, 0)
            outputs, _ = net.features(np.zeros((1, *net.image_shape), net.dtype), net.layers)
            self.large[key] = net.state_dict(), outputs
        return self.large[key]


def _below(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin so, by what follows."""
    return {key.removeprefix(prefix): y for key, y in arrays.items() if key.startswith(prefix)}
