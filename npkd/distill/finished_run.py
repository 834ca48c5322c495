"""A finished run, of its folder: its report, its task, its nets."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from npkd.arguments import shown
from npkd.data import Augmentation, Dataset, Normalisation, image_folder
from npkd.distill.config import Config
from npkd.distill.outputs import View
from npkd.distill.report import contents, finished, page
from npkd.distill.report.table import IN_EIGHT_BITS, NAMES, image_shape
from npkd.distill.tasks import TASKS
from npkd.files import BadInput, is_there, writing_to
from npkd.nets import Network
from npkd.objectives import Term
from npkd.quantise import Quantised, files

OF_CONFIG = ("task", "large", "small", "small_input", "teacher_input")


class FinishedRun:
    """The folder of a finished run, with report.json and the weights of the nets that are asked.

    task: the run's, with its normalisation, of no images. Raises BadInput for a folder that no run
    can have written, or whose run is of before npkd kept how it prepared images, or not finished.
    """

    def __init__(self, folder: str | Path):
        if not isinstance(folder, str | Path) or folder == "":
            raise BadInput(f"folder is {shown(folder)}, expected the path of a run's folder")
        self.folder = Path(folder)
        self.report = report = finished.read_report(self.folder)
        about, config = report["data"], report["config"]
        if not {"mean", "std", "border"} <= about.keys():
            raise BadInput(
                f"{self.folder / 'report.json'}: does not say how images were prepared; it was "
                "written before npkd could predict new ones. Run npkd distill again with the same "
                "settings"
            )
        self.image_shape, self.border = image_shape(report), about["border"]
        self.background = about.get("background") or image_folder.BACKGROUND
        self.class_names = tuple(report["class_names"])
        none, no_labels = np.empty((0, *self.image_shape), np.uint8), np.empty(0, np.int64)
        dataset = Dataset(
            *(about["name"], none, no_labels, none, no_labels, self.class_names),
            *(Augmentation(), False, self.border),
        )
        named = {name: config[name] for name in OF_CONFIG if name in config}
        normalise = Normalisation(np.array(about["mean"], float), np.array(about["std"], float))
        try:
            config = Config(**named | {"task": report["task"]})
            self.task = TASKS[config.task](dataset, config, normalise)
        except ValueError as error:
            raise BadInput(f"{folder}: not the folder of a run: {error}") from error
        self.networks: dict[str, Network] = {}  # those that were asked
        self.quantised: dict[str, Quantised] = {}

    def config(self) -> Config:
        """The run's settings. Raises BadInput for any that are none."""
        known = {field.name for field in fields(Config)}
        given = {name: value for name, value in self.report["config"].items() if name in known}
        try:
            if "loss" in given:
                given["loss"] = tuple(map(_term, given["loss"]))
            return Config(**given)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{self.folder / 'report.json'}: config: {error}") from error

    def network(self, name: str) -> Network:
        """One of its three nets, by its name in `NAMES`; it is read when it is first asked."""
        if name not in self.networks:
            weights = finished.read_weights(self.folder, self.report, name)
            try:
                setting = "large" if name == "large" else "small"
                network = self.task.network(setting, len(self.class_names), 0)
                network.load(weights)
            except ValueError as error:
                raise BadInput(f"{self.folder}: not the folder of a run: {error}") from error
            self.networks[name] = network
        return self.networks[name]

    def net(self, name: str) -> Network | Quantised:
        """One of its three nets, or one in eight bits as `npkd quantise` has made it."""
        if name in NAMES:
            return self.network(name)
        if name not in self.quantised:
            path = self.folder / f"{name}.npz"
            if not is_there(path):
                command = f"npkd quantise {self.folder} --net {IN_EIGHT_BITS[name]}"
                raise BadInput(f"{self.folder}: has no {path.name}; {command} makes it")
            self.quantised[name] = files.load(path, self.network(IN_EIGHT_BITS[name]))
        return self.quantised[name]

    def write(self) -> str:
        """Write the report as it is now, and the page again; why that could not be made, or "".

        Raises BadInput where the folder cannot be written to.
        """
        with writing_to(self.folder):
            contents.write_json(self.folder / "report.json", self.report)
            try:
                page.write(self.folder)
            except (ImportError, BadInput) as error:
                return f"note: report.html is as it was: {error}"
        return ""

    def view(self, name: str) -> View:
        """What a net is shown of images when it is tested as it was trained."""
        return self.task.view(IN_EIGHT_BITS.get(name, name))


def _term(held: dict[str, Any]) -> Term:
    """A loss as report.json has it."""
    return Term(**held | {side: tuple(held[side]) for side in ("student", "teacher")})
