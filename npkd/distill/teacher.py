"""A large net that was trained before, and teaches as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from npkd.files import BadInput
from npkd.nets import Network
from npkd.weights import digest, load_weights


@dataclass(frozen=True)
class Teacher:
    """The weights of a trained large net, of this file."""

    path: Path
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, path: str | Path) -> "Teacher":
        """Those of a file; raises what `load_weights` does."""
        return cls(Path(path), load_weights(path))

    @cached_property
    def about(self) -> dict[str, str]:
        """Where a report says they came from: the file's name, and the SHA-256 of the arrays."""
        return {"file": self.path.name, "sha256": digest(self.arrays)}

    def teach(self, large: Network) -> None:
        """Make this net the teacher, and freeze it. Raises BadInput if they are not its weights."""
        try:
            large.load(self.arrays)
        except ValueError as error:
            raise BadInput(f"{self.path}: {error}; --large says which net it is of") from error
        large.freeze()
