"""A large net that was trained before, and teaches as it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npkd.arguments import OtherNet
from npkd.distill.outputs import digest_of
from npkd.distill.report.contents import read_json
from npkd.files import BadInput
from npkd.nets import Network
from npkd.weights import load_weights


@dataclass
class Teacher:
    """The weights of a trained large net, of this file."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    sha256: str = ""  # of the net that has them, once it has

    @classmethod
    def of(cls, path: str | Path) -> "Teacher":
        """Those of a file; raises what `load_weights` does."""
        return cls(Path(path), load_weights(path))

    @property
    def about(self) -> dict[str, str]:
        """Where a report says they came from: the file's name, and the SHA-256 of the net."""
        return {"file": self.path.name, "sha256": self.sha256}

    def teach(self, large: Network, task: str) -> None:
        """Make this net the teacher, and freeze it. Raises BadInput if they are not its weights."""
        try:
            large.load(self.arrays)
        except OtherNet as error:
            raise BadInput(f"{self.path}: {error}; {_remedy(error, large, task)}") from error
        except ValueError as error:
            raise BadInput(f"{self.path}: {error}") from error
        large.freeze()
        state = large.state_dict().items()
        self.sha256 = digest_of(
            {name: w for name, w in state if not name.endswith("num_batches_tracked")}
        )

    def differences(self, made_for: Mapping[str, Any]) -> str:
        """In what the report of a run beside the file, if it is there, says otherwise.

        made_for: the names of classes, and the mean and the deviation that images are normalised
        by, as report.json has them.
        """
        path = self.path.with_name("report.json")
        try:
            report = read_json(path)
        except BadInput:  # there is none, or that of something else
            return ""
        theirs = report["data"] | {"class_names": report["class_names"]}
        other = [name for name, value in made_for.items() if theirs.get(name, value) != value]
        return f"the run of {path} had other {' and '.join(other)}" if other else ""


def _remedy(error: OtherNet, large: Network, task: str) -> str:
    """What to do about weights of another net, by the shapes that differ."""
    found = {}
    for name, (given, expected) in error.shapes.items():
        axes = zip(given, expected, strict=False)
        same = [a == b for a, b in axes] if len(given) == len(expected) else []
        is_last = name.startswith(f"{large.last}.")
        if is_last and same and all(same[1:]):
            found["classes"] = f"the file has {given[0]} classes, the data {expected[0]}"
        elif not is_last and same == [True, False]:  # behind maps that are flattened
            size = round(large.image_shape[-1] * math.sqrt(given[1] / expected[1]))
            found["size"] = f"the file is for images of {size}×{size}; see --size"
        elif same == [True, False, True, True]:
            found["channels"] = f"the file is for {given[1]} channels, the data have {expected[1]}"
        else:
            found.clear()
            break
    if found:
        return "; ".join(found.values())
    if task != "classify":
        return f"--task {task} has no other large net"
    return "--large says which net it is of"
