"""Step 5 of a finished run again, with the distilled net computing in eight bits."""

import math
from collections.abc import Callable
from dataclasses import replace

from npkd.data import Dataset
from npkd.distill import Run
from npkd.distill.config import optimiser_of
from npkd.distill.finished_run import FinishedRun
from npkd.distill.trainer import schedule
from npkd.files import BadInput
from npkd.quantise.loop import InTheLoop, departure
from npkd.training import Diverged, train

RATE = 0.1  # of the run's own learning rate


def distilled(
    finished: FinishedRun,
    dataset: Dataset,
    looped: InTheLoop,
    epochs: int,
    rate: float | None = None,
    show: Callable[[str], object] = lambda text: None,
) -> list[tuple[float, float]]:
    """Train it as the run did its small net, by the same loss of the same large net's outputs.

    rate: the highest learning rate, by default RATE of the run's. show: is told where it is.
    Returns how far the backward pass is from a gradient before the first update, see `departure`.
    Raises BadInput if the run's loss is on layers within steps, or the training diverges.
    """
    config = finished.config()
    rate = RATE * config.learning_rate if rate is None else rate
    config = replace(config, epochs=epochs, alternating=False, learning_rate=rate)
    try:
        run = Run(dataset, config)
    except ValueError as error:
        raise BadInput(f"{finished.folder}: {error}") from error
    run.large.load(finished.network("large").state_dict())
    run.large.freeze()
    inner = set(run.objective.layers) - {step.name for step in looped.steps}
    if inner:
        raise BadInput(
            f"{finished.folder}: its loss is on {min(inner)}, which the net in eight bits computes "
            "in one with what follows; expected a run without --epochs here"
        )
    teacher = [run.teacher_outputs(version) for version in range(run.prepare.versions)]
    found = departure(looped, run.objective, next(run.prepare.small_batches(teacher)))
    updates = train(
        looped,
        run.prepare.small_batches(teacher),
        loss=run.objective,
        optimiser=optimiser_of(config, "small"),
        schedule=schedule(config, rate, run.prepare.updates("small")),
        clip_norm=math.inf if config.clip_norm is None else config.clip_norm,
        rng=lambda step: run.prepare.dropping("small", step),
    )
    try:
        for update in updates:
            if update.step % 10 == 0:
                show(f"epoch {update.epoch + 1} of {epochs}, loss {update.loss:.3f}")
        looped.quantised()
    except (Diverged, ValueError) as error:
        raise BadInput(f"{finished.folder}: {error}; try --learning-rate below {rate:g}") from error
    return found
