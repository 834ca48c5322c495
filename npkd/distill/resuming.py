"""The checkpoints of a run: when they are written, what they hold, and where it goes on."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from npkd import data, distill
from npkd.commands import reading, say
from npkd.distill import checkpoint
from npkd.distill.config import optimiser_of
from npkd.distill.tasks.task import written
from npkd.distill.teacher import Teacher
from npkd.files import BadInput, Damaged
from npkd.weights import require_readable


class Checkpoints:
    """The checkpoints of a run: when they are written, what they hold, and where it goes on.

    Raises BadInput if one cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        config: distill.Config,
        dataset: data.Dataset,
        args: argparse.Namespace,
        teacher: Teacher | None = None,
    ):
        if args.checkpoint_every is not None and args.checkpoint_every < 1:
            raise BadInput(
                f"--checkpoint-every is {args.checkpoint_every}, expected a whole number from 1"
            )
        self.folder, self.config, self.dataset, self.teacher = folder, config, dataset, teacher
        self.every = args.checkpoint_every
        self.to_resume = args.to_resume
        self.reading = reading(args)
        self.about: dict[str, Any] = {
            "config": json.loads(json.dumps(asdict(config))),  # as a checkpoint gives it back
            "reading": self.reading,
            "name": dataset.name,
            "data": dataset.digest(),
        }

    def run(self, resume: bool) -> distill.Run:
        """The run, from the newest whole checkpoint on if there is one to go on from.

        Raises BadInput, and touches nothing, if there are some and none is whole, or if one cannot
        be used for another reason than that it is damaged.
        """
        damaged = []
        for path in checkpoint.found(self.folder) if resume else ():
            try:
                run = self._resumed(path)
            except Damaged as error:
                damaged.append(error)
                continue
            say(*(f"note: {error}" for error in damaged), f"going on from {path}")
            return run
        if damaged:
            raise BadInput(
                f"{damaged[0]}; no other checkpoint can be gone on from, and nothing is touched: "
                "give another --out, or take them away"
            )
        if resume:
            if checkpoint.results(self.folder):
                raise BadInput(
                    f"{self.folder}: holds results and no checkpoint that can be gone on from; "
                    "give another --out"
                )
            say(f"note: no checkpoint in {self.folder}: starting anew")
        try:
            run = distill.Run(self.dataset, self.config, teacher=self.teacher)
        except BadInput:
            raise
        except ValueError as error:
            raise BadInput(f"--{error}") from error
        self._require_readable(run)
        return run

    def _require_readable(self, run: distill.Run) -> None:
        """Raise BadInput if the run's checkpoints may become larger than any that is read."""
        nets = sum(
            theta.nbytes for net in run.networks.values() for theta in net.state_dict().values()
        )
        remembered = len(optimiser_of(self.config, "large").remembers())
        try:
            require_readable(self.folder, nets * (1 + remembered))
        except BadInput as error:
            raise BadInput(
                f"--large is {self.config.large}, too large for images of "
                f"{written(self.dataset.image_shape)}; another net grows less with them, resnet20, "
                f"say: checkpoints in {error}"
            ) from error

    def _resumed(self, path: Path) -> distill.Run:
        about, arrays = checkpoint.load(path)
        try:
            state = about.pop("state")
            self._require_same(about)
            state = distill.State(**state, arrays=arrays)
            run = distill.Run(self.dataset, self.config, state, teacher=self.teacher)
            self._require_teacher(about.get("teacher", {}))
            return run
        except BadInput:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise BadInput(
                f"{path}: cannot be gone on from, and nothing is touched: {error}"
            ) from error

    def _require_same(self, about: dict[str, Any]) -> None:
        """Raise BadInput if the run in the folder has other settings or other data."""
        started_with = self.reading | about["config"] | about.get("reading", {})
        for name, value in (self.about["config"] | self.reading).items():
            theirs = started_with[name]
            if theirs != value:
                raise BadInput(
                    f"--{name.replace('_', '-')} is {value}, but the run in {self.folder} has "
                    f"{theirs}; go on with the same arguments, or give another --out"
                )
        if about["data"] != self.about["data"]:
            raise BadInput(
                f"--data: {self.dataset.name} is not what the run in {self.folder} was started "
                f"with ({about['name']}, or other images or labels); give another --out"
            )
        if bool(about.get("teacher")) != bool(self.teacher):
            self._require_teacher(about.get("teacher", {}))

    def _require_teacher(self, theirs: dict[str, Any]) -> None:
        """Raise BadInput if the run in the folder has a teacher of other weights."""
        ours = self.teacher.about if self.teacher else {}
        if theirs.get("sha256") == ours.get("sha256"):
            return
        has = theirs.get("file")
        if has == ours.get("file"):
            has = f"other weights: {has} has been changed"
        raise BadInput(
            f"--teacher is {ours.get('file')}, but the run in {self.folder} has {has}; go on with "
            "that, or give another --out"
        )

    def after(self, event: distill.Event, run: distill.Run) -> None:
        """Write a checkpoint if one is due after this event."""
        every = self.every or math.inf
        due = isinstance(event, distill.Training) and (event.update.step + 1) % every == 0
        if due or isinstance(event, distill.Epoch):
            self.write(run)

    def write(self, run: distill.Run) -> None:
        """Write a checkpoint now."""
        state = vars(run.state())
        about = self.about | {
            "state": {k: v for k, v in state.items() if k != "arrays"},
            "teacher": self.teacher.about if self.teacher else {},
        }
        try:
            checkpoint.save(self.folder, sum(state["updates"].values()), about, state["arrays"])
        except OSError as error:
            kept = checkpoint.found(self.folder)
            last = f"; the last good one is {kept[0].name}" if kept else ""
            last += f"; go on with: {self.to_resume}"
            raise BadInput(
                f"{self.folder}: a checkpoint cannot be written: {error.strerror or error}{last}"
            ) from error
