"""Where a run stands, as it goes and between two updates; whether it may go on from there."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npkd.arguments import as_float
from npkd.distill.config import optimiser_of
from npkd.distill.preparation import Preparation
from npkd.nets import Network
from npkd.objectives import Objective
from npkd.optim import Optimiser
from npkd.training import Update


@dataclass(frozen=True)
class State:
    """Where a run stands between two updates.

    updates: how many each net has had. Images, their order and the schedule follow from the
    settings' seed and these numbers. loss, samples: their sum in the epoch that is under way.
    history, seconds: of the report. arrays: "NET/PARAMETER" of each net that has had an update, and
    "optimiser/KIND/PARAMETER", such as "optimiser/velocity/fc1.bias", of the net that is being
    trained; "loss/PARAMETER" of what the distilled net's losses train, while it is being trained.
    The arrays themselves, not copies.
    """

    updates: dict[str, int]
    loss: float
    samples: int
    history: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    arrays: dict[str, np.ndarray]


class Progress:
    """What `State` says, kept up to date as the nets of a run are trained.

    resumed: where an earlier run with these settings stood. Its nets are brought there one by one,
    each when its training comes. Raises what `require_fitting` does.
    """

    def __init__(
        self,
        prepare: Preparation,
        networks: Mapping[str, Network],
        objective: Objective,
        resumed: State | None = None,
    ):
        self.prepare, self.networks, self.objective = prepare, networks, objective
        self.resumed = resumed or State({}, 0.0, 0, {}, {}, {})
        require_fitting(self.resumed, prepare, networks, objective)
        self.caught_up = not self.resumed.updates  # whether the nets are as far as `resumed`
        self.updates = dict(self.resumed.updates)
        self.history = {name: list(epochs) for name, epochs in self.resumed.history.items()}
        self.seconds = dict(self.resumed.seconds)
        self.loss, self.samples = self.resumed.loss, self.resumed.samples
        self.optimisers: dict[str, Optimiser] = {}  # of the nets whose training has come
        self.started = time.perf_counter() - self.seconds.pop("total", 0.0)

    def restore(self, name: str, optimiser: Optimiser) -> int:
        """The net and its optimiser as `resumed` has them; how many updates the net has had."""

        def arrays(prefix: str) -> dict[str, np.ndarray]:
            resumed = self.resumed.arrays.items()
            return {key.removeprefix(prefix): v for key, v in resumed if key.startswith(prefix)}

        done = self.resumed.updates.get(name, 0)
        if done:
            self.networks[name].load(arrays(f"{name}/"))
            if name == "small":
                self.objective.params |= arrays("loss/")
            if done < self.prepare.updates(name):
                optimiser.load(arrays(f"optimiser/{name}/"), done)
        if done and name == list(self.resumed.updates)[-1]:
            self.caught_up = True
        self.optimisers[name] = optimiser
        self.history.setdefault(name, [])
        self.seconds.setdefault(name, 0.0)
        return done

    def add(self, name: str, update: Update, seconds: float) -> None:
        """Count an update of this net, which took so long."""
        self.seconds[name] += seconds
        self.updates[name] = update.step + 1
        self.loss += update.loss * update.samples
        self.samples += update.samples

    def end_epoch(self, name: str, epoch: int, figures: Mapping[str, float]) -> float:
        """Put this epoch down in the net's history; its mean loss."""
        mean = self.loss / self.samples
        self.history[name].append({"epoch": epoch + 1, "loss": mean, **figures})
        self.loss, self.samples = 0.0, 0
        return mean

    def timed(self) -> dict[str, float]:
        """The seconds that each part took, and "total"."""
        return self.seconds | {"total": time.perf_counter() - self.started}

    def state(self) -> State:
        """Where the run stands, between two updates."""
        if not self.caught_up:
            return self.resumed
        arrays = {
            f"{name}/{key}": theta
            for name in self.updates
            for key, theta in self.networks[name].state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            if 0 < self.updates.get(name, 0) < self.prepare.updates(name):
                kept = optimiser.state().items()
                arrays |= {f"optimiser/{name}/{key}": array for key, array in kept}
        if 0 < self.updates.get("small", 0) < self.prepare.updates("small"):
            arrays |= {f"loss/{key}": theta for key, theta in self.objective.params.items()}
        return State(self.updates, self.loss, self.samples, self.history, self.timed(), arrays)


def require_fitting(
    state: State, prepare: Preparation, networks: Mapping[str, Network], objective: Objective
) -> None:
    """Raise ValueError, or what comes of a wrong type, unless this run can go on from a state."""
    names = list(state.updates)
    if names != list(networks)[: len(names)]:
        raise ValueError(f"it has updates of {names}, expected some of {list(networks)}")
    expected: dict[str, np.ndarray] = {}
    into_epoch = 0
    for name, updates in state.updates.items():
        per_epoch, steps = prepare.batches_of_an_epoch(name), prepare.updates(name)
        least, most = (1 if name == names[-1] else steps), steps
        if name == "large" and prepare.config.alternating:
            small = state.updates.get("small", 0) / prepare.batches_of_an_epoch("small")
            least = max(1, math.ceil(small) * per_epoch)
            most = min(steps, (math.floor(small) + 1) * per_epoch)
        if type(updates) is not int or not least <= updates <= most:
            raise ValueError(f"{name} has had {updates} updates, expected {least} to {most}")
        done, rest = divmod(updates, per_epoch)
        into_epoch = rest or into_epoch
        require_history(name, state.history[name], done, prepare.task.figures)
        params = networks[name].params
        whole = networks[name].state_dict()
        expected |= {f"{name}/{key}": theta for key, theta in whole.items()}
        if updates < steps:
            of_loss = objective.params if name == "small" else {}
            expected |= {f"loss/{key}": theta for key, theta in of_loss.items()}
            for what in optimiser_of(prepare.config, name).remembers():
                moving = params | of_loss
                expected |= {
                    f"optimiser/{name}/{what}/{key}": theta for key, theta in moving.items()
                }
    samples = into_epoch * prepare.config.batch_size
    if type(state.samples) is not int or state.samples != samples:
        raise ValueError(f"its epoch has had {state.samples} samples, expected {samples}")
    if not math.isfinite(as_float(state.loss)):
        raise ValueError(f"its loss is {state.loss}")
    timed = {*names, "teacher_outputs", "total"}
    if not set(names) <= state.seconds.keys() <= timed or state.history.keys() != set(names):
        raise ValueError("its history or its seconds are of other nets than its updates")
    if not all(0 <= as_float(seconds) < math.inf for seconds in state.seconds.values()):
        raise ValueError(f"its seconds are {state.seconds}")
    require_alike(state.arrays, expected)


def require_history(
    name: str, history: list[dict[str, float]], epochs: int, figures: Sequence[str]
) -> None:
    """Raise ValueError unless a net's history, read from a file, is one of so many epochs."""
    values = [list(map(as_float, entry.values())) for entry in history]
    if (
        [list(entry) for entry in history] != [["epoch", "loss", *figures]] * epochs
        or [entry[0] for entry in values] != list(range(1, epochs + 1))
        or not np.isfinite(values).all()
    ):
        raise ValueError(f"its history of {name} is not one of {epochs} epochs")


def require_alike(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless arrays, read from a file, are finite and otherwise as expected."""
    if expected.keys() != arrays.keys():
        differ = sorted(expected.keys() ^ arrays.keys())
        raise ValueError(f"it lacks arrays, or has some that are not its: {differ}")
    for key, theta in expected.items():
        array = arrays[key]
        if (array.shape, array.dtype) != (theta.shape, theta.dtype):
            raise ValueError(
                f"its {key} is {array.dtype} {array.shape}, expected {theta.dtype} {theta.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"its {key} holds values that are not finite")
