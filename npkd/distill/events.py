"""What a run yields as it goes."""

from dataclasses import dataclass
from typing import Any

from npkd.nets import Network
from npkd.training import Update


@dataclass(frozen=True)
class Stage:
    """One of the six steps is reached."""

    number: int
    title: str


@dataclass(frozen=True)
class Training:
    """An update of one of the three nets, out of the `steps` that it gets."""

    net: str
    update: Update
    steps: int


@dataclass(frozen=True)
class Epoch:
    """A pass of one of the three nets is over: mean loss of the samples, figures in the test."""

    net: str
    epoch: int
    epochs: int
    loss: float
    figures: dict[str, float]


@dataclass(frozen=True)
class Note:
    """Something worth saying."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end: all figures, as in report.json; the nets; what the pictures show, `Task.samples`."""

    report: dict[str, Any]
    networks: dict[str, Network]
    samples: dict[str, Any]


Event = Stage | Training | Epoch | Note | Finished
