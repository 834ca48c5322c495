"""What is studied: settings × seeds, as a TOML file says it, and the trainings that these take.

    question = "From what does the small net learn more?"
    expected = "From the labels and the large net together."
    seeds = [0, 1, 2, 3, 4]

    [all]                           # of every setting
    preset = "default"              # what they do not say is the preset's
    epochs = 20

    [[setting]]
    name = "L2 alone"
    teacher_input = ["low", "high"] # one setting for each

    [[setting]]
    name = "labels and L2"
    label_weight = 0.75
    loss = "l2"                     # as for npkd distill: "kl temperature=4 + attention"

The names are those of `distill.Config`. Where None is meant, labelled is "all" and clip_norm
inf; unlabelled is "rest" for all that have no label. Each setting is compared with the small net
that learns from the labels alone, with what else of the setting concerns it; what that net has
otherwise is said by `against`, as in against = {versions = 2}.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from npkd import distill
from npkd.arguments import shown
from npkd.data import Dataset
from npkd.distill import Config, loss_text
from npkd.files import BadInput

MOST_SETTINGS = 1000
MOST_SEEDS = 1000
MOST_SEED = 2**63  # where TOML's own integers end
MOST_LETTERS = 2000  # of what is asked
MOST_DOTS = 1000  # in a line; for a key of n parts tomllib takes a time that grows with n²

# What decides whether a run fits the nets and the images
FITTING = (
    *("large", "small", "small_input", "loss", "label_weight"),
    *("labelled", "unlabelled", "batch_size"),
)

# What makes no difference to the large net, and to the small one from labels
OF_SMALL = (
    *(
        "small",
        "small_input",
        "teacher_input",
        "loss",
        "label_weight",
        "unlabelled",
        "label_smoothing",
        "epochs",
        "versions",
        "bits",
    ),
    *("learning_rate", "labels_learning_rate", "weight_decay"),
)
OF_TEACHER = (
    *("teacher_input", "teacher_views", "loss"),
    *("large", "large_epochs", "large_learning_rate", "large_weight_decay"),
)
# And what is of the distilled one alone, with a teacher or without
OF_DISTILLED = ("label_weight", "label_smoothing", "learning_rate")


@dataclass(frozen=True)
class Setting:
    """A name, and what a run of it does; the seed is that of each run."""

    name: str
    config: Config
    against: Config  # of the net from labels that it is compared with

    def at(self, seed: int) -> Config:
        """A run of it."""
        return replace(self.config, seed=seed)

    def cells(self, seed: int) -> "tuple[Cell | None, Cell, Cell]":
        """The trainings of a run: of the large net, of the one from labels, of the distilled one.

        One that is distilled from labels alone has no large net.
        """
        small = small_cell(self.at(seed))
        return small.teacher, labels_cell(replace(self.against, seed=seed)), small


@dataclass(frozen=True)
class Study:
    """Settings × seeds, what is asked, and what was expected before it ran."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    question: str = ""
    expected: str = ""

    @property
    def task(self) -> str:
        """What the nets learn, the same in all settings."""
        return self.settings[0].config.task


def read(text: str, dataset: Dataset) -> Study:
    """The study that a TOML text describes, of this data set.

    Raises BadInput, in one line, for anything that is wrong with it.
    """
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise BadInput(f"a line has more than {MOST_DOTS} dots")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, for one
        raise BadInput(f"not TOML: {error}") from error
    task = tables.pop("task", "classify")
    words = {name: tables.pop(name, "") for name in ("question", "expected")}
    seeds, common, given = (tables.pop(name, None) for name in ("seeds", "all", "setting"))
    if tables:
        offered = "question, expected, task, seeds, all, setting"
        raise BadInput(f"{shown(next(iter(tables)))} is none of {offered}")
    for name, text in words.items():
        if not isinstance(text, str) or len(text) > MOST_LETTERS:
            raise BadInput(
                f"{name} is {shown(text)}, expected a text of up to {MOST_LETTERS} letters"
            )
    if not isinstance(task, str) or task not in distill.TASKS:
        raise BadInput(f"task is {shown(task)}, expected one of {', '.join(distill.TASKS)}")
    if common is not None and not isinstance(common, dict):
        raise BadInput("all is no table: expected [all] and settings below it")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given) or not given:
        raise BadInput("expected one [[setting]] or more")
    _require_known("all", common or {})
    merged = [{**(common or {}), **table} for table in given[: MOST_SETTINGS + 1]]
    if sum(math.prod(map(len, _lists(table).values())) for table in merged) > MOST_SETTINGS:
        raise BadInput(f"more than {MOST_SETTINGS} settings, counting a list once for each value")
    tried: set[str] = set()
    with np.errstate(all="ignore"):  # a run that overflows says so when it is trained
        settings = [
            setting
            for number, table in enumerate(merged)
            for setting in _settings(number, table, dataset, task, tried)
        ]
    names = [setting.name for setting in settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"two settings are called {shown(twice)}; give each a name of its own")
    seeds = checked_seeds([0, 1, 2, 3, 4] if seeds is None else seeds)
    return Study(tuple(settings), seeds, **words)


def checked_seeds(given: Any) -> tuple[int, ...]:
    """Seeds as a study has them. Raises BadInput for anything but different whole numbers."""
    if (
        not isinstance(given, list)
        or not 1 <= len(given) <= MOST_SEEDS
        or not all(type(seed) is int and 0 <= seed < MOST_SEED for seed in given)
        or len(set(given)) != len(given)
    ):
        raise BadInput(
            f"seeds are {shown(given)}, expected a list of 1 to {MOST_SEEDS} whole numbers from 0 "
            "to below 2⁶³, each once"
        )
    return tuple(given)


OTHERS = ("task", "seed", "alternating")  # a study trains net by net
OFFERED = [one.name for one in fields(Config) if one.name not in OTHERS]


def _require_known(where: str, table: dict[str, Any]) -> None:
    """Raise BadInput unless a table has only names of settings, with values."""
    for name, value in table.items():
        if name not in (*OFFERED, "name", "against"):
            raise BadInput(f"{where}: {shown(name)} is none of {', '.join(OFFERED)}")
        if value == []:
            raise BadInput(f"{where}: {name} is an empty list")


def _require_of_labels(where: str, against: Any) -> None:
    """Raise BadInput unless these are settings that concern the net from labels, a value each."""
    if not isinstance(against, dict) or any(isinstance(one, list) for one in against.values()):
        raise BadInput(f"{where}: against is {shown(against)}, expected names with a value each")
    offered = [name for name in OFFERED if name not in ("preset", *OF_TEACHER, *OF_DISTILLED)]
    for name in against:
        if name not in offered:
            known = ", ".join(offered)
            raise BadInput(f"{where}: against: {shown(name)} is none of {known}")


def _settings(
    number: int, table: dict[str, Any], dataset: Dataset, task: str, tried: set[str]
) -> Iterator[Setting]:
    """The settings of one table: a product where values are lists.

    tried: what has been found to fit the nets and the images.
    """
    title, against = table.pop("name", None), table.pop("against", {})
    if title is not None and (not isinstance(title, str) or not title.strip()):
        raise BadInput(f"setting {number + 1}: name is {shown(title)}, expected some text")
    title = title and title.strip()
    where = title or f"setting {number + 1}"
    _require_known(where, table)
    _require_of_labels(where, against)
    try:
        base = distill.preset(table.pop("preset", "default"), dataset, task)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error
    if base.alternating:
        raise BadInput(f"{where}: preset is {base.preset}, but a study trains net by net")
    lists = _lists(table)
    for values in product(*lists.values()):
        changes = dict(zip(lists, values, strict=True))
        varied = {name: v for name, v in changes.items() if len(lists[name]) > 1 or title is None}
        try:
            config = _changed(base, changes, dataset)
            compared = _changed(config, against, dataset)
            for one in (config, compared):
                what = repr([getattr(one, name) for name in FITTING])
                if what not in tried:
                    distill.Run(dataset, one)  # that losses fit the nets, and the images suffice
                    tried.add(what)
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from error
        words = [f"{name} {value}" for name, value in varied.items()]
        name = ", ".join([title, *words] if title else words) or "default"
        yield Setting(name, config, compared)


def _changed(config: Config, changes: Mapping[str, Any], dataset: Dataset) -> Config:
    """The settings with these, as TOML has them: what it cannot say has a word for it there.

    loss: as for npkd distill. labelled: "all". unlabelled: "rest", all that have no label.
    clip_norm: inf, not clipped. Raises ValueError.
    """
    changes = dict(changes)
    if "loss" in changes:
        if not isinstance(changes["loss"], str):
            raise ValueError(f"loss is {shown(changes['loss'])}, expected a text")
        changes["loss"] = loss_text.terms(changes["loss"])
    for name, word in (("labelled", "all"), ("clip_norm", math.inf)):
        if changes.get(name) == word:
            changes[name] = None
    for name, word in (("labelled", "all"), ("unlabelled", "rest")):
        if isinstance(changes.get(name), str) and changes[name] != word:
            value = shown(changes[name])
            raise ValueError(f'{name} is {value}, expected a whole number or "{word}"')
    unlabelled = changes.pop("unlabelled", config.unlabelled)
    found = replace(config, **changes)
    if unlabelled == "rest":
        count = len(dataset.train_labels)
        unlabelled = max(0, count - (count if found.labelled is None else found.labelled))
    return replace(found, unlabelled=unlabelled)


def _lists(table: dict[str, Any]) -> dict[str, list[Any]]:
    """The values that each name of a table is given, one or several."""
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in table.items()
        if name != "against"
    }


@dataclass(frozen=True)
class Cell:
    """One training: of the net `net` of a run with these settings.

    config: the settings that concern it, the others at their defaults. teacher: the cell of the
    large net that it learns from.
    """

    net: str
    config: Config
    teacher: "Cell | None" = None

    @cached_property
    def key(self) -> str:
        """A short name, another one for any other settings."""
        text = json.dumps(self.spec(), sort_keys=True)
        return f"{self.net}-{self.config.seed}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def spec(self) -> dict[str, Any]:
        """All that decides its figures but the data, as JSON has it."""
        teacher = self.teacher and self.teacher.spec()
        spec = {"net": self.net, "config": asdict(self.config), "teacher": teacher}
        return json.loads(json.dumps(spec))


def large_cell(config: Config) -> Cell:
    """The training of the large net in a run."""
    return Cell("large", _without(config, OF_SMALL))


def labels_cell(config: Config) -> Cell:
    """That of the small net from labels."""
    return Cell("small_from_labels", _without(config, (*OF_TEACHER, *OF_DISTILLED)))


def small_cell(config: Config) -> Cell:
    """That of the distilled one; one that sees nothing but labels needs no teacher."""
    if not config.label_weight:
        config = _without(config, ("label_smoothing",))
    if config.label_weight < 1 or config.unlabelled:
        return Cell("small", _without(config, ("labels_learning_rate",)), large_cell(config))
    if config.label_smoothing:
        return Cell("small", _without(config, ("labels_learning_rate", *OF_TEACHER)))
    return labels_cell(replace(config, labels_learning_rate=config.learning_rate))


def _without(config: Config, names: tuple[str, ...]) -> Config:
    """With defaults for what makes no difference, so that what is trained alike is equal."""
    return replace(config, **{name: getattr(Config, name) for name in (*names, "preset")})


def cells(study: Study) -> list[Cell]:
    """All trainings of a study, each once: seed by seed, the large nets first."""
    found: dict[str, Cell] = {}
    for seed in study.seeds:
        of_seed = [cell for setting in study.settings for cell in setting.cells(seed) if cell]
        of_seed.sort(key=lambda cell: cell.net != "large")
        found |= {cell.key: cell for cell in of_seed}
    return list(found.values())


def names_of_cells(study: Study) -> dict[str, str]:
    """By the keys of cells, the name of the first setting that has each."""
    found: dict[str, str] = {}
    for setting in study.settings:
        for seed in study.seeds:
            for cell in filter(None, setting.cells(seed)):
                found.setdefault(cell.key, setting.name)
    return found


def pupils(study: Study, large: Cell) -> tuple[Config, ...]:
    """Settings of nets that learn from a large one, of those that see equal outputs of it one.

    Losses on inner layers are left out: what these are on is made where it is needed.
    """
    found: dict[tuple[str, int, int], Config] = {}
    for setting in study.settings:
        cell = small_cell(setting.at(large.config.seed))
        on_outputs = all(term.kind.layers == "output" for term in cell.config.loss)
        if cell.teacher and cell.teacher.key == large.key and on_outputs:
            config = cell.config
            found[config.teacher_input, config.versions, config.epochs] = config
    return tuple(found.values())
