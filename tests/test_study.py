"""Studies: what is read, which trainings it takes, their figures, and what outlives a failure."""

import errno
import json
import math
import multiprocessing
import os
import re
import signal
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import malformed
import numpy as np
import pytest
import studies
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies import AtOnce, invented

from benchmarks import studies as published
from npkd import data, distill, objectives, training
from npkd.data import Normalisation
from npkd.distill import checkpoint, evaluate
from npkd.distill.eight_bits import in_eight_bits
from npkd.engine import threads
from npkd.files import BadInput, OtherVersion, Unreadable
from npkd.objectives import Term
from npkd.study import cells as cells_of
from npkd.study import page, plan, results, running, shipped, tables
from npkd.study.analysis import holm, over_seeds, over_seeds_and_images
from npkd.study.cells import Job, Source, Teacher
from npkd.study.plan import labels_cell, large_cell, small_cell

# Random draws share what a test's fixtures made
several = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _small_nets(monkeypatch):
    """Smaller nets; and as many threads after a test as before."""
    monkeypatch.setattr(threads, "_num_threads", threads._num_threads)
    with studies.small_nets():
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source.of(tiny.file(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def study():
    with studies.small_nets():
        return read(studies.TEXT)


def read(text):
    return plan.read(text, tiny.dataset())


# What is read


def test_lists_are_products_and_names_say_what_varies():
    text = """
    [all]
    epochs = 3
    batch_size = [8, 9]
    [[setting]]
    name = "L2"
    teacher_input = ["low", "high"]
    [[setting]]
    batch_size = 16
    loss = "kl temperature=4 + attention weight=500"
    """
    found = read(text)
    assert [
        (one.name, one.config.teacher_input, one.config.batch_size) for one in found.settings
    ] == [
        ("L2, batch_size 8, teacher_input low", "low", 8),
        ("L2, batch_size 8, teacher_input high", "high", 8),
        ("L2, batch_size 9, teacher_input low", "low", 9),
        ("L2, batch_size 9, teacher_input high", "high", 9),
        ("epochs 3, batch_size 16, loss kl temperature=4 + attention weight=500", "low", 16),
    ]
    assert {one.config.epochs for one in found.settings} == {3}
    terms = Term("kl", options={"temperature": 4}), Term("attention", weight=500)
    assert found.settings[-1].config.loss == terms
    assert found.seeds == (0, 1, 2, 3, 4)
    assert found.task == "classify"


def test_what_no_setting_says_is_the_default_preset_of_the_data_and_the_task():
    (default,) = read("[[setting]]").settings
    assert (default.name, default.config) == ("default", distill.PRESETS["default"])
    photographs = replace(tiny.dataset(), photographs=True)
    (setting,) = plan.read("[[setting]]\nname = 'a'", photographs).settings
    assert setting.config == distill.PHOTOGRAPHS
    found = read("task = 'super-resolve'\nseeds = [7]\n[[setting]]\nname = 'a'")
    assert (found.task, found.seeds) == ("super-resolve", (7,))
    assert found.settings[0].config == distill.SUPER_RESOLUTION
    assert found.settings[0].at(7).seed == 7


def test_a_preset_is_what_the_settings_do_not_say():
    text = "[all]\npreset = 'document'\n[[setting]]\n[[setting]]\nname = 'a'\nepochs = 3"
    first, second = read(text).settings
    assert first.config == distill.PRESETS["document"]
    assert second.config == replace(distill.PRESETS["document"], epochs=3)


@pytest.mark.parametrize("photographs", [False, True])
@pytest.mark.parametrize("name", shipped.NAMES)
def test_the_studies_that_come_with_npkd_can_be_read(name, photographs, monkeypatch):
    """labelled and unlabelled images are as many as the data sets have that they are for."""
    digits = tiny.dataset()
    normalisation = Normalisation.of(digits.train_images)
    monkeypatch.setattr(Normalisation, "of", lambda _: normalisation)  # of so many takes a while
    labels = np.arange(10_000 if photographs else 4_000) % 4
    images = np.zeros((1, 3, 32, 32), np.uint8)
    many = np.broadcast_to(images, (len(labels), 3, 32, 32))
    dataset = replace(digits, train_images=many, train_labels=labels, photographs=photographs)
    text = shipped.text(name, dataset)
    assert text.startswith("#")
    found = plan.read(text, dataset)
    assert len(found.settings) > 1
    assert found.question.endswith("?")
    assert found.expected or name in ("digits", "photographs", "resnets")  # which ran before
    assert len(plan.cells(found)) <= 3 * len(found.settings) * len(found.seeds)


def test_the_studies_that_come_with_npkd_are_its_files_and_each_has_one():
    folder = Path(shipped.__file__).parent / "studies"
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert {"digits", "photographs", "data-size", "temperature", "patience"} <= names
    assert names == set(shipped.NAMES)
    assert {shipped.default(replace(tiny.dataset(), photographs=p)) for p in (True, False)} <= names


HUGE = "0x" + "f" * 5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds = [", "not TOML"),
        ("seeds = [" + "9" * 5000 + "]", "not TOML"),
        ("seeds = " + "[" * 9000, "not TOML"),
        ("x = " + "{a = " * 9000, "not TOML"),
        (".".join("a" * 200_000) + " = 1", "a line has more than 1000 dots"),
        (".".join("a" * 900) + " = 1\n[[setting]]", "'a' is none of question, expected, task,"),
        ("all." + ".".join("a" * 900) + " = 1\n[[setting]]", "all: 'a' is none of"),
        ("[[setting]]\nepochs = 2026-11-28", "epochs is datetime.date(2026, 11, 28), expected"),
        ("[[setting]]\nlearning_rate = inf", "learning_rate is inf, expected a number above 0"),
        ("[[setting]]\nloss = '" + "l2 + " * 100 + "l2'", "loss has 101 terms, expected 100 at"),
        ("'\\u202e' = 1", r"'\\u202e' is none of"),
        ("'" + "a" * 500_000 + "' = 1", "'" + "a" * 76 + "... is none of"),
        ("question = 3\n[[setting]]", "question is 3, expected a text of up to 2000 letters"),
        (f"expected = '{'x' * 2001}'\n[[setting]]", "expected a text of up to 2000 letters"),
        ("colour = 1\n[[setting]]", "'colour' is none of question, expected, task,"),
        ("task = 'sing'\n[[setting]]", "task is 'sing', expected one of classify, super-resolve"),
        ("task = []\n[[setting]]", "task is [], expected one of"),
        ("all = 3\n[[setting]]", "all is no table"),
        ("", "expected one [[setting]] or more"),
        ("setting = []", "expected one [[setting]] or more"),
        ("setting = [1]", "expected one [[setting]] or more"),
        ("[setting]\nepochs = 1", "expected one [[setting]] or more"),
        ("seeds = []\n[[setting]]", "seeds are [], expected a list of 1 to 1000 whole numbers"),
        ("seeds = 3\n[[setting]]", "seeds are 3, expected a list"),
        ("seeds = [1, 1]\n[[setting]]", "seeds are [1, 1], expected .* each once"),
        ("seeds = [-1]\n[[setting]]", "seeds are [-1]"),
        ("seeds = [true]\n[[setting]]", "seeds are [True]"),
        ("seeds = [1.0]\n[[setting]]", "seeds are [1.0]"),
        (f"seeds = [{HUGE}]\n[[setting]]", "seeds are a list, expected"),
        ("[[setting]]\nname = 3", "setting 1: name is 3, expected some text"),
        ("[[setting]]\nname = ' '", "setting 1: name is ' ', expected some text"),
        ("[[setting]]\nname = 'a'\nseed = 1", "a: 'seed' is none of preset, large, "),
        ("[[setting]]\npreset = 'best'", "setting 1: preset is 'best', expected one of default"),
        ("[[setting]]\npreset = ['default']", "setting 1: preset is ['default'], expected one"),
        ("[all]\npreset = 'document-alternating'\n[[setting]]", "a study trains net by net"),
        ("[[setting]]\ntask = 'classify'", "setting 1: 'task' is none of"),
        ("[all]\nepoch = 1\n[[setting]]\nname = 'a'", "all: 'epoch' is none of"),
        ("[all]\nepochs = []\n[[setting]]\nname = 'a'", "all: epochs is an empty list"),
        ("[[setting]]\nepochs = []", "setting 1: epochs is an empty list"),
        ("[[setting]]\n[[setting]]\nepochs = 0", "setting 2: epochs is 0, expected a whole number"),
        ("[[setting]]\nepochs = [1, [2]]", "epochs is [2], expected a whole number"),
        (f"[[setting]]\nepochs = {HUGE}", "epochs is a int, expected a whole number"),
        (f"[[setting]]\nlearning_rate = [1, {HUGE}]", "learning_rate is a int, expected a number"),
        ("[[setting]]\nlearning_rate = nan", "learning_rate is nan, expected a number above 0"),
        ("[[setting]]\naugment = 1", "augment is 1, expected True or False"),
        ("[[setting]]\nlabel_weight = 2", "label_weight is 2"),
        ("[[setting]]\nlabelled = 23", "labelled is 23, but corners has 22 images"),
        ("[[setting]]\nlabelled = 9\nunlabelled = 14", "unlabelled is 14, but corners has 22"),
        ("[[setting]]\nloss = 3", "loss is 3, expected a text"),
        ("[[setting]]\nloss = ''", "loss is '', expected NAME KEY=VALUE"),
        ("[[setting]]\nloss = 'l2 + '", "expected NAME KEY=VALUE"),
        ("[[setting]]\nloss = 'l3'", "loss is 'l3', expected one of l2"),
        ("[[setting]]\nloss = 'kl heat=4'", "loss-option is 'heat=4', but kl takes"),
        ("[[setting]]\nloss = 'kl temperature=0'", "kl: temperature is 0"),
        ("[[setting]]\nloss = 'l2 + nst student=no'", "loss does not fit: SmallCNN"),
        ("[[setting]]\nloss = 'attention'", "add a label_weight above 0"),
        ("task = 'super-resolve'\n[[setting]]\nteacher_input = 'high'", "expected 'low'"),
        ("[[setting]]\nname = 'a'\n[[setting]]\nname = 'a'", "two settings are called 'a'"),
        ("[[setting]]\n" * 1001, "more than 1000 settings"),
        (
            "[[setting]]\nepochs = [{0}]\nversions = [{0}]".format(
                ",".join(map(str, range(1, 33)))
            ),
            "more than 1000 settings",
        ),
        (
            "[[setting]]\n" + "\n".join(f"a{k} = [1, 2]" for k in range(20_000)),
            "more than 1000 settings",
        ),
    ],
    ids=lambda text: text[:40],
)
def test_a_text_that_is_no_study_is_refused_in_one_line(text, words):
    with pytest.raises(BadInput) as refused:
        read(text)
    message = str(refused.value)
    assert "\n" not in message
    start, _, end = words.partition(".*")
    assert start in message
    assert end in message


@pytest.mark.parametrize("wrong", ["[[setting]]\nlabelled = 23", "[[setting]]\nloss = 'attention'"])
def test_what_fits_the_nets_is_tried_once_for_all_that_differ_in_other_things(monkeypatch, wrong):
    tried = []
    run = distill.Run
    monkeypatch.setattr(distill, "Run", lambda *of: tried.append(of) or run(*of))
    many = ", ".join(map(str, range(1, 101)))
    text = f"[[setting]]\nepochs = [{many}]\nlearning_rate = [0.1, 0.2]\nloss = ['l2', 'kl']\n"
    assert len(read(text).settings) == 400
    assert len(tried) == 2
    with pytest.raises(BadInput, match=r"labelled is 23|add a label_weight"):
        read(text + wrong)


def test_a_batch_that_does_not_fit_the_net_is_refused_in_any_setting():
    dataset = tiny.dataset()
    images = [of[..., :8, :8] for of in (dataset.train_images, dataset.test_images)]
    dataset = replace(dataset, train_images=images[0], test_images=images[1])
    text = "[all]\nsmall = 'resnet8'\nlabelled = 11\n[[setting]]\n[[setting]]\nname = 'b'\n"
    assert len(plan.read(text, dataset).settings) == 2
    with pytest.raises(BadInput, match=r"^b: batch_size is 10, which leaves a batch of one image"):
        plan.read(text + "batch_size = 10", dataset)


def toml(value):
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(one)}" for name, one in value.items()) + "}"
    return hex(value) if isinstance(value, int) and value > 0 else repr(value)


def _texts():
    return st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=8)


def _losses():
    """Some of these make sense."""
    keys = [
        *objectives.KINDS["kl"].options,
        *objectives.KINDS["dkd"].options,
        "student",
        "weight",
        "x",
    ]
    values = ["2", "-1", "0", "nan", "1e400", "1e308", "9" * 30, "yes", "relu2", "fc1,fc2", "", "="]
    pair = st.builds("{}={}".format, st.sampled_from(keys), st.sampled_from(values))
    one = st.builds(
        lambda name, pairs: " ".join([name, *pairs]),
        st.sampled_from([*objectives.KINDS, "l3", ""]),
        st.lists(pair, max_size=2),
    )
    return st.lists(one, min_size=1, max_size=3).map(" + ".join)


def _values():
    simple = st.one_of(
        st.booleans(),
        st.integers(0, 9),
        st.integers(-(10**20), 10**20),
        st.floats(),
        st.floats(0, 1),
        st.sampled_from(["low", "high", "both", "constant", "cosine", "yes"]),
        _losses(),
        _texts(),
        st.just(16**5000),
    )
    return st.one_of(
        simple,
        st.lists(simple, max_size=2),
        st.lists(st.lists(simple, max_size=1), max_size=1),
        st.dictionaries(_texts(), simple, max_size=1),
    )


_fields = [one.name for one in fields(distill.Config)]
_tables = st.dictionaries(st.sampled_from([*_fields, "name"]) | _texts(), _values(), max_size=3)


def read_or_refused(text):
    """Whatever it is, it gives a study with all its cells, or BadInput, which is one line."""
    with suppress(BadInput):
        found = read(text)
        assert len({cell.key for cell in plan.cells(found)}) == len(plan.cells(found))
        assert all(setting.name for setting in found.settings)


@several
@given(_texts(), st.lists(_texts(), max_size=3))
def test_any_text_is_a_study_or_one_line(text, lines):
    for words in (text, "\n".join(["[[setting]]", *lines])):
        read_or_refused(words)


@settings(several, max_examples=100)
@given(
    st.dictionaries(st.sampled_from(["task", "seeds", "all", "other"]), _values(), max_size=1),
    _tables,
    st.lists(_tables, min_size=1, max_size=2),
)
def test_any_values_are_a_study_or_one_line(top, common, tables):
    values = {"all": common, "setting": tables} | top
    read_or_refused("\n".join(f"{name} = {toml(value)}" for name, value in values.items()))


@settings(several, max_examples=80)
@given(_losses(), st.sampled_from([0, 0.5, 1]))
def test_any_text_for_a_loss_is_a_loss_or_one_line(text, label_weight):
    read_or_refused(f"[[setting]]\nloss = {toml(text)}\nlabel_weight = {label_weight}")


# The trainings that it takes


def test_equal_trainings_are_one_cell(study):
    assert [cell.net for cell in plan.cells(study)] == [
        "large",
        "small_from_labels",
        "small",
        "small",
        "small",
    ]
    assert len(plan.cells(study)) == studies.CELLS
    cells = plan.cells(replace(study, seeds=(3, 4)))
    assert [cell.config.seed for cell in cells] == [3] * studies.CELLS + [4] * studies.CELLS
    assert cells[: studies.CELLS] == plan.cells(study)


# Every one of them makes a difference here: few labels, an epoch of the large net in two batches
BASE = {"labelled": 12, "unlabelled": 5, "clip_norm": 0.01, "label_weight": 0.25}
CHANGES = {
    "preset": "document",
    "large": "resnet8",
    "small": "resnet8",
    "small_input": "high",
    "teacher_input": "high",
    "teacher_views": "high",
    "loss": (Term("kl"),),
    "label_weight": 0.75,
    "labelled": 11,
    "unlabelled": 9,
    "label_noise": 0.5,
    "label_smoothing": 0.3,
    "large_epochs": 2,
    "epochs": 3,
    "versions": 1,
    "augment": False,
    "batch_size": 7,
    "large_learning_rate": 0.02,
    "learning_rate": 0.02,
    "labels_learning_rate": 0.02,
    "optimiser": "adamw",
    "nesterov": True,
    "momentum": 0.5,
    "decay_biases": False,
    "large_weight_decay": 0.1,
    "weight_decay": 0.1,
    "clip_norm": None,
    "schedule": "constant",
    "warmup": 0.6,
    "seed": 4,
}


def weights(config):
    """The bits of each net, trained."""
    run = distill.Run(tiny.dataset(), config)
    for name in run.networks:
        teacher = [run.teacher_outputs(k) for k in range(run.prepare.versions)]
        for _ in run.trainer.updates_of(name, teacher if name == "small" else ()):
            pass
    return {
        name: b"".join(theta.tobytes() for theta in net.params.values())
        for name, net in run.networks.items()
    }


def keys(config):
    return {
        "large": large_cell(config).key,
        "small": small_cell(config).key,
        "small_from_labels": labels_cell(config).key,
    }


@pytest.fixture(scope="module")
def base():
    with studies.small_nets():
        return weights(tiny.config(**BASE))


def test_all_settings_but_the_task_are_changed_below():
    """And but nets trained in turn, which no study takes, and what they are tested with."""
    assert CHANGES.keys() | {"task", "alternating", "bits"} == set(_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_changes_the_key_of_a_net_just_if_it_changes_its_bits(base, name):
    before, after = tiny.config(**BASE), tiny.config(**BASE | {name: CHANGES[name]})
    assert getattr(before, name) != getattr(after, name)
    trained = weights(after)
    for net, key in keys(after).items():
        assert (key != keys(before)[net]) == (trained[net] != base[net]), net


def test_nets_in_eight_bits_are_other_cells_of_the_same_large_net():
    before, after = tiny.config(), tiny.config(bits=8)
    assert keys(before).keys() - {
        net for net, key in keys(after).items() if key != keys(before)[net]
    } == {"large"}


@pytest.mark.parametrize("changes", [{}, {"unlabelled": 6}])
def test_a_distilled_net_of_label_weight_1_is_the_net_from_labels_at_its_rate(changes):
    """Where both see the same images; of others the distilled one would still see some."""
    config = tiny.config(labelled=12, label_weight=1, **changes)
    trained = weights(config)
    at_its_rate = replace(config, labels_learning_rate=config.learning_rate)
    same = weights(at_its_rate)["small_from_labels"]
    assert (trained["small"] == same) == (small_cell(config) == labels_cell(at_its_rate))
    assert (trained["small"] == same) == (not changes)


@pytest.mark.parametrize("changes", [{"label_weight": 1}, {"label_weight": 0}])
def test_labels_are_smoothed_where_they_count_and_no_large_net_is_trained_for_them(changes):
    config = tiny.config(label_smoothing=0.3, **changes)
    plain, run = replace(config, label_smoothing=0.0), distill.Run(tiny.dataset(), config)
    if not config.label_weight:
        assert small_cell(config) == small_cell(plain)
        return
    cell = small_cell(config)
    assert cell.teacher is None
    assert cell not in (small_cell(plain), labels_cell(config))
    for _ in run.trainer.updates_of("small"):
        pass
    trained = b"".join(theta.tobytes() for theta in run.networks["small"].params.values())
    assert trained == weights(config)["small"]


def test_labels_and_images_without_any_may_be_all_that_there_are():
    found = read("[[setting]]\nlabelled = [9, 22, 'all']\nunlabelled = 'rest'")
    configs = [setting.config for setting in found.settings]
    assert [(one.labelled, one.unlabelled) for one in configs] == [(9, 13), (22, 0), (None, 0)]
    more = replace(tiny.dataset(), train_images=np.zeros((105, 3, 32, 32), np.uint8))
    more = replace(more, train_labels=np.arange(105) % 4)
    text = "[[setting]]\npreset = 'few-labels'\n[[setting]]\npreset = 'few-labels'\nlabelled = 99"
    first, second = (one.config for one in plan.read(text, more).settings)
    assert (first.labelled, first.unlabelled) == (100, 5)
    assert (second.labelled, second.unlabelled) == (99, 5)
    with pytest.raises(BadInput, match="unlabelled is 'most', expected a whole number or \"rest\""):
        read("[[setting]]\nlabelled = 9\nunlabelled = 'most'")
    text = "[[setting]]\nlabelled = 9\nclip_norm = inf\nagainst = {labelled = 'all'}"
    (setting,) = read(text).settings
    assert (setting.config.labelled, setting.config.clip_norm) == (9, None)
    assert setting.against.labelled is None


def test_a_net_from_labels_may_be_compared_with_one_that_has_other_settings(source, tmp_path):
    found = read(
        "seeds = [3]\n[all]\nlarge_epochs = 1\nepochs = 4\n[[setting]]\nname = 'twice'\n"
        "label_weight = 1\nversions = 4\nagainst = {versions = 2, label_noise = 0.25}\n"
    )
    (setting,) = found.settings
    large, labels, small = setting.cells(3)
    assert large is None
    assert (labels.config.versions, labels.config.label_noise) == (2, 0.25)
    assert (small.config.versions, small.config.label_noise) == (4, 0.0)
    assert {small.net, labels.net} == {"small_from_labels"}
    assert len(plan.cells(found)) == 2
    report = studies.report(found, source, studies.run(found, source, AtOnce(), tmp_path))
    assert report["settings"][0]["verdict"] == "few"  # one seed; not "same"


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ("3", "against is 3, expected names with a value each"),
        ("{versions = [1, 2]}", "expected names with a value each"),
        ("{versoins = 2}", "s: against: 'versoins' is none of small, small_input, labelled, "),
        ("{preset = 'document'}", "s: against: 'preset' is none of small, "),
        ("{teacher_input = 'high'}", "s: against: 'teacher_input' is none of small, "),
        ("{name = 'x'}", "s: against: 'name' is none of small, "),
        ("{labelled = 99}", "s: labelled is 99, but corners has 22 images"),
        ("{versions = 0}", "s: versions is 0, expected a whole number from 1"),
    ],
)
def test_what_it_is_compared_with_is_checked(against, words):
    with pytest.raises(BadInput, match=re.escape(words)):
        read(f"[[setting]]\nname = 's'\nagainst = {against}")


@pytest.mark.parametrize("task", distill.TASKS)
@pytest.mark.parametrize("labels", [{}, {"labelled": 9}, {"labelled": 9, "unlabelled": 8}])
def test_the_net_from_labels_has_the_same_first_weights_and_as_many_updates(task, labels):
    base = distill.preset("default", tiny.dataset(), task)
    config = replace(base, seed=5, epochs=3, batch_size=4, learning_rate=0.01, **labels)
    small = distill.Run(tiny.dataset(), small_cell(config).config)
    of_labels = distill.Run(tiny.dataset(), labels_cell(config).config)
    for name, theta in of_labels.small_from_labels.params.items():
        np.testing.assert_array_equal(theta, small.small.params[name])
    teacher = [small.teacher_outputs(k) for k in range(small.prepare.versions)]
    counts = [
        sum(1 for _ in batches)
        for batches in (small.prepare.small_batches(teacher), of_labels.prepare.small_batches())
    ]
    assert counts[0] == counts[1] == small.prepare.updates("small") > 0


# Figures


@pytest.fixture(scope="module")
def done(study, source, tmp_path_factory):
    """All events of the study, with the smaller nets, in this process."""
    with studies.small_nets():
        return studies.run(study, source, AtOnce(), tmp_path_factory.mktemp("done"))


def assert_figures_of_a_run(source, config, figures):
    """They are, to the bit, those of `npkd distill` with these settings."""
    *_, finished = distill.run(source.load(), config)
    models, truth = finished.report["models"], finished.report["teacher_against_truth"]
    small, labels = figures[small_cell(config).key], figures[labels_cell(config).key]
    names = distill.TASKS[config.task].figures
    names = (*names, *(f"train_{name}" for name in names))
    best = f"best_{names[0]}"
    nets = [(small, "small"), (labels, "small_from_labels")]
    for found, net in nets if small_cell(config).teacher else nets[1:]:
        assert {name: found[name] for name in names} == {name: models[net][name] for name in names}
        epochs = [epoch[names[0]] for epoch in finished.report["history"][net]]
        assert (found[best], found[names[0]]) == (max(epochs), epochs[-1])
    if small_cell(config).teacher is None:
        return
    large = figures[large_cell(config).key]
    assert small["mse"] == models["small"]["mse"]
    if config.task == "super-resolve":
        assert large["psnr"] == models["large"]["psnr"]
        return
    assert small["agreement"] == models["small"]["agreement"]
    for name in ("accuracy", "accuracy_low"):
        assert large[name] == models["large"][name]
    assert (
        small["teacher_accuracy"] == truth["accuracy" + "_high" * (config.teacher_input == "high")]
    )


def test_the_figures_of_a_study_are_those_of_single_runs(study, source, done, monkeypatch):
    monkeypatch.setattr(evaluate, "latency_ms", lambda *_: 1.0)
    figures = studies.figures(done)
    assert len(figures) == studies.CELLS
    for setting in study.settings:
        assert_figures_of_a_run(source, setting.at(3), figures)


def test_so_they_are_with_few_labels_and_of_nets_that_super_resolve(source, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "latency_ms", lambda *_: 1.0)
    for text in (
        "labelled = 10\nunlabelled = 7\nlabel_weight = [0.5, 1]",
        "labelled = 10\nlabel_weight = 1",
    ):
        found = read(f"seeds = [2]\n[[setting]]\n{text}\nepochs = 2\nlarge_epochs = 1")
        figures = studies.figures(studies.run(found, source, AtOnce(), tmp_path))
        for setting in found.settings:
            assert_figures_of_a_run(source, setting.at(2), figures)
    found = read(
        "task = 'super-resolve'\nseeds = [2]\n[[setting]]\nepochs = 1\nlarge_epochs = 1\n"
        "label_weight = 0.5"
    )
    figures = studies.figures(studies.run(found, source, AtOnce(), tmp_path))
    assert_figures_of_a_run(source, found.settings[0].at(2), figures)
    assert results.main_figure(found.task) in figures[small_cell(found.settings[0].at(2)).key]


@pytest.fixture
def taught(study, source):
    """A large net that was trained, with what it keeps for the first setting's net, as jobs."""
    cell = small_cell(study.settings[0].at(3))
    pupils = plan.pupils(study, cell.teacher)
    assert [config.teacher_input for config in pupils] == ["low", "high"]
    teacher = cells_of.train(Job(cell.teacher, source, 1, pupils=pupils)).teacher
    return Job(cell, source, 1, teacher)


def test_nets_in_eight_bits_are_tested_as_such(source, tmp_path):
    text = "seeds = [2]\n[[setting]]\nbits = [32, 8]\nepochs = 2\nlarge_epochs = 1"
    found = read(text)
    figures = studies.figures(studies.run(found, source, AtOnce(), tmp_path))
    floats, eight = (figures[small_cell(one.at(2)).key] for one in found.settings)
    run = distill.Run(source.load(), found.settings[1].at(2))
    for net in ("large", "small"):
        teacher = [run.teacher_outputs(k) for k in range(run.prepare.versions)]
        for _ in run.trainer.updates_of(net, teacher if net == "small" else ()):
            pass
    images, labels = source.load().test_images, source.load().test_labels
    quantised = in_eight_bits(run.task, "small", run.small)
    assert eight["nll"] == run.task.calibration(quantised(run.task.x_small(images)), labels)["nll"]
    assert eight["nll"] != floats["nll"]
    assert eight["teacher_accuracy"] == floats["teacher_accuracy"]


def test_a_single_run_has_no_bits():
    with pytest.raises(ValueError, match="bits is 8, expected 32 in a run; npkd quantise makes"):
        next(distill.run(tiny.dataset(), tiny.config(bits=8)))


def test_outputs_that_were_kept_give_the_bits_of_those_that_are_made_anew(study, taught):
    assert sorted(taught.teacher.kept) == ["high/0", "high/1", "low/0", "low/1"]
    anew = replace(taught.teacher, kept={})
    for setting in study.settings[:2]:
        job = replace(taught, cell=small_cell(setting.at(3)))
        figures = cells_of.train(job).figures
        assert figures == cells_of.train(replace(job, teacher=anew)).figures


def test_a_large_net_keeps_its_outputs_for_all_that_learn_from_outputs_alone(source):
    found = read(
        "seeds = [3]\n[all]\nlarge_epochs = 1\nepochs = 2\n"
        "[[setting]]\nname = 'a'\nversions = [3, 1]\n"
        "[[setting]]\nname = 'b'\nloss = 'l2 + hint'\nteacher_input = 'high'\n"
    )
    large = plan.cells(found)[0]
    pupils = plan.pupils(found, large)
    assert sorted(cells_of.train(Job(large, source, 1, pupils=pupils)).teacher.kept) == [
        "low/0",
        "low/1",
    ]


def test_outputs_of_other_images_or_another_teacher_are_refused(taught):
    params, kept = taught.teacher.params, taught.teacher.kept
    swapped = kept | {"low/0": kept["low/1"], "low/1": kept["low/0"]}
    with pytest.raises(ValueError, match="kept for other images"):
        cells_of.train(replace(taught, teacher=Teacher(params, swapped)))
    changed = {name: theta.copy() for name, theta in params.items()}
    changed["fc2.bias"][0] = np.nextafter(changed["fc2.bias"][0], np.float32(9))
    with pytest.raises(ValueError, match="teacher has changed"):
        cells_of.train(replace(taught, teacher=Teacher(changed, kept)))


def test_a_data_set_is_the_one_that_is_meant_or_refused(source, tmp_path):
    with pytest.raises(BadInput, match="the data here are others than those of the study"):
        replace(source, digest="0" * 64).load()
    assert Source.of(source.path, held_out=True).digest != source.digest
    path = tiny.file(tmp_path)
    old = Source.of(path)
    assert old.digest == source.digest
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["images"] = changed["images"] ^ np.uint8(1)
    assert old.load().digest() == old.digest
    np.savez(path, **changed)
    new = Source(path, data.load(path).digest())
    assert new.digest != old.digest
    assert new.load().digest() == new.digest  # a worker that lives on reads what is there now
    with pytest.raises(BadInput, match="others than those of the study"):
        old.load()
    tiny.file(tmp_path)
    assert Source.of(path) == old


# Executors


def processes(number):
    """So many, which have the smaller nets too."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(number, context, initializer=studies.shrink)


@pytest.fixture(scope="module")
def pool():
    """Two processes, started once."""
    with processes(2) as executor:
        yield executor


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_the_same_figures(study, source, done, tmp_path, workers):
    with ThreadPoolExecutor(workers) as executor:
        events = studies.run(study, source, executor, tmp_path, at_once=2 * workers)
    assert studies.figures(events) == studies.figures(done)


def test_processes_give_the_same_figures(study, source, done, pool, tmp_path):
    events = studies.run(study, source, pool, tmp_path, threads=2)
    assert studies.figures(events) == studies.figures(done)
    assert studies.report(study, source, events) == studies.report(study, source, done)


def test_when_a_process_is_killed_another_does_what_it_did(study, source, done, pool, tmp_path):
    with processes(1) as executor:
        how = {"at_once": 2, "renew": lambda: pool}
        events = []
        for event in running.run(study, source, executor, tmp_path, **how):
            events.append(event)
            if isinstance(event, running.Done) and event.number == 1:
                (worker,) = executor._processes
                os.kill(worker, signal.SIGKILL)
    assert studies.figures(events) == studies.figures(done)
    assert studies.reasons(events) == {}


# Going on


def counted(study, source, folder, work=invented, **how):
    """All events, and the keys of the cells that were made for them."""
    executor = AtOnce(work)
    events = studies.run(study, source, executor, folder, **how)
    return events, executor.keys


def test_what_waits_is_called_off_where_a_study_is_stopped(study, source, tmp_path):
    futures = []

    class Waiting(AtOnce):
        def submit(self, train, /, job):
            futures.append(Future() if futures else super().submit(train, job))
            return futures[-1]

    events = running.run(study, source, Waiting(invented), tmp_path, at_once=2)
    assert [type(next(events)) for _ in range(2)] == [running.Planned, running.Done]
    events.close()
    assert [future.cancelled() for future in futures] == [False, True]


@pytest.mark.parametrize("number", range(1, studies.CELLS + 1))
@pytest.mark.parametrize("closed", [True, False])
def test_a_study_that_goes_on_does_what_was_not_done(study, source, tmp_path, number, closed):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, _ = counted(study, source, tmp_path / "a")
    executor = AtOnce(invented)
    events = running.run(study, source, executor, tmp_path / "b", at_once=1)
    before = [next(event for event in events if isinstance(event, running.Done))]
    while len(before) < number:
        before.append(next(events))
    if closed:
        events.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt)
    after, keys = counted(study, source, tmp_path / "b")
    assert after[0] == running.Planned(studies.CELLS, number)
    assert [event.number for event in after[1:]] == list(range(1, studies.CELLS + 1))
    assert sorted(executor.keys + keys) == sorted(cell.key for cell in plan.cells(study))
    assert {event.cell.key for event in before}.isdisjoint(keys)
    assert studies.report(study, source, after) == studies.report(study, source, whole)
    seconds = {event.cell.key: event.seconds for event in after[1:]}
    assert seconds == {event.cell.key: event.seconds for event in whole[1:]}


def test_trained_nets_that_were_kept_teach_as_those_just_trained(study, source, done, tmp_path):
    events = running.run(study, source, AtOnce(), tmp_path, at_once=1)
    assert [type(next(events)) for _ in range(2)] == [running.Planned, running.Done]
    events.close()
    after, keys = counted(study, source, tmp_path, work=None)
    assert len(keys) == studies.CELLS - 1
    assert studies.report(study, source, after) == studies.report(study, source, done)


def test_a_damaged_file_is_named_and_its_cell_made_anew(study, source, tmp_path):
    whole, _ = counted(study, source, tmp_path)
    kept = running.Cells(tmp_path, source)
    large, labels, *_ = plan.cells(study)
    content = bytearray(kept.path(large).read_bytes())
    content[len(content) // 2] ^= 1
    kept.path(large).write_bytes(content)
    kept.path(labels).write_bytes(kept.path(labels).read_bytes()[:-1])
    events, keys = counted(study, source, tmp_path)
    assert events[:3] == [
        running.Planned(studies.CELLS, studies.CELLS - 2),
        running.Damaged(f"{kept.path(large)}: cut off or altered since it was written"),
        running.Damaged(f"{kept.path(labels)}: cut off or altered since it was written"),
    ]
    assert keys == [large.key, labels.key]
    assert studies.report(study, source, events) == studies.report(study, source, whole)
    assert counted(study, source, tmp_path)[1] == []


def assert_refused(study, source, folder, error, words):
    """The study ends before anything is computed, and touches nothing."""

    def held():
        return {path: path.is_symlink() or path.read_bytes() for path in folder.rglob("*.npkd*")}

    before, executor = held(), AtOnce(invented)
    with pytest.raises(error, match=words):
        studies.run(study, source, executor, folder)
    assert executor.jobs == []
    assert held() == before


FIGURES = dict.fromkeys(
    ("accuracy", "nll", "brier", "ece", "best_accuracy", "train_accuracy"), 0.321
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([], "not a checkpoint that npkd can take: pop expected at most 1"),
        (b"{", "not a checkpoint that npkd can take: "),
        ({"figures": 3}, "no result of this training, and nothing is touched: figures is 3"),
        ({"figures": None}, "figures is null, expected an object"),
        ({"figures": {}}, "figures.accuracy is missing"),
        ({"figures": {"accuracy": 0.5}}, "figures.nll is missing"),
        ({"figures": FIGURES | {"accuracy": "x"}}, 'figures.accuracy is "x", expecte'),
        ({"figures": FIGURES | {"accuracy": math.nan}}, "figures.accuracy is NaN"),
        ({"figures": FIGURES | {"accuracy": 10**400}}, "figures.accuracy is 1000"),
        ({"figures": FIGURES | {"accuracy": 1.1}}, "expected a number from 0 to 1"),
        ({"figures": FIGURES}, "its accuracy is not that of its images"),
        ({"seconds": -1}, "seconds is -1, expected a number from 0"),
        ({"seconds": math.inf}, "seconds is Infinity, expected a number from 0"),
        ({"seconds": "x"}, 'seconds is "x"'),
        ({"spec": {}}, "it is of other settings or other data"),
        ({"data": "0" * 64}, "it is of other settings or other data"),
        ({"held_out": True}, "it is of other settings or other data"),
    ],
)
def test_a_file_of_another_making_ends_the_study(study, source, tmp_path, change, words):
    """Sound as a file of npkd's by its digest, though not one of this cell."""
    counted(study, source, tmp_path)
    path = running.Cells(tmp_path, source).path(plan.cells(study)[1])
    about, arrays = checkpoint.load(path)
    if isinstance(change, dict):
        content = malformed.content(about | change, arrays)
    else:
        text = change if isinstance(change, bytes) else json.dumps(change).encode()
        content = malformed.content(text, arrays)
    path.write_bytes(malformed.signed(content))
    assert_refused(study, source, tmp_path, BadInput, words)


def retyped(name, dtype):
    return lambda about, arrays: arrays.update({name: arrays[name].astype(dtype)})


def with_nan(name):
    return lambda about, arrays: arrays[name].flat.__setitem__(0, np.nan)


OUTPUTS = "kept/low/1/fc2"


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda about, arrays: about.pop("kept"), "'kept'"),
        (lambda about, arrays: about.update(kept={}), "it lacks arrays, or has some"),
        (lambda about, arrays: about.update(kept=7), "'int' object is not"),
        (lambda about, arrays: about["kept"].update({"low/1": 3}), "unpack"),
        (lambda about, arrays: about["kept"].update({"low/1": ["0" * 64] * 2}), "'low/1' are not"),
        (lambda about, arrays: about["kept"].update({"../x": ["", ""]}), "'../x' are not of this"),
        (lambda about, arrays: about["kept"]["low/0"].__setitem__(1, None), "'low/0' are not of"),
        (lambda about, arrays: about["kept"].pop("low/1"), "it lacks arrays, or has some"),
        (lambda about, arrays: arrays.pop("large/fc2.bias"), "it lacks arrays, or has some"),
        (lambda about, arrays: arrays.update({"more": np.zeros(3)}), "it lacks arrays, or has som"),
        (lambda about, arrays: arrays.update({"kept/low/1/fc9": np.zeros(3)}), "'fc9'"),
        (retyped("large/fc1.weight", np.float64), "its large/fc1.weight is float64"),
        (retyped("large/fc1.weight", "S3"), r"its large/fc1.weight is \|S3"),
        (retyped(OUTPUTS, np.float64), f"its {OUTPUTS} is float64"),
        (with_nan("large/conv1.weight"), "its large/conv1.weight holds values that are not finite"),
        (with_nan(OUTPUTS), f"its {OUTPUTS} holds values that are not finite"),
        (lambda about, arrays: arrays.update({OUTPUTS: arrays[OUTPUTS][1:]}), r"\(21, 4\), expect"),
        (lambda about, arrays: arrays["large/fc2.bias"].__setitem__(0, 1), "are not of this net"),
    ],
)
def test_a_large_net_of_another_making_ends_the_study(study, source, done, tmp_path, alter, words):
    """Its parameters and its outputs are those of the net that it is said to be."""
    large = plan.cells(study)[0]
    job = Job(large, source, 1, pupils=plan.pupils(study, large))
    kept = running.Cells(tmp_path, source)
    kept.save(large, cells_of.train(job))
    assert kept.load(large).figures == studies.figures(done)[large.key]
    about, arrays = checkpoint.load(kept.path(large))
    alter(about, arrays)
    kept.path(large).write_bytes(malformed.signed(malformed.content(about, arrays)))
    assert_refused(study, source, tmp_path, BadInput, words)


def test_a_file_that_another_version_can_use_or_that_cannot_be_read_now_ends_the_study(
    study, source, tmp_path, monkeypatch
):
    counted(study, source, tmp_path)
    path = running.Cells(tmp_path, source).path(plan.cells(study)[1])
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"npkd checkpoint 1", b"npkd checkpoint 7"))
    assert_refused(study, source, tmp_path, OtherVersion, "is of format 7, and this is npkd")
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "__version__", "9.9")
        assert_refused(study, source, tmp_path, OtherVersion, "was written by npkd")
    path.unlink()
    path.symlink_to(path)
    assert_refused(study, source, tmp_path, BadInput, "Too many levels of symbolic links")

    def no_memory(*_, **__):
        raise MemoryError

    path.unlink()
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "npz_arrays", no_memory)
        assert_refused(study, source, tmp_path, Unreadable, "not enough memory to read it")


@pytest.mark.parametrize("task", distill.TASKS)
def test_what_is_kept_is_read_back_and_its_figures_have_the_names_foretold(source, tmp_path, task):
    rates = {f"{name} = 1e-4" for name in distill.RATES.values()}
    found = read(
        f"task = '{task}'\nseeds = [3]\n[[setting]]\nepochs = 1\nlarge_epochs = 1\n"
        + "label_weight = [0, 0.5, 1]\n"
        + "\n".join(rates)
    )
    kept = running.Cells(tmp_path, source)
    for event in studies.run(found, source, AtOnce(), tmp_path):
        if isinstance(event, running.Done):
            assert list(event.figures) == list(cells_of.figures_of(event.cell))
            result = kept.load(event.cell)
            assert list(result.figures.items()) == list(event.figures.items())
            assert np.array_equal(result.by_image, event.by_image)
            main = results.main_figure(task)
            assert result.by_image.mean() == pytest.approx(event.figures[main], abs=1e-9)


def test_a_large_net_whose_outputs_are_too_many_for_a_file_is_kept_without_them(
    study, source, done, tmp_path, monkeypatch
):
    large = plan.cells(study)[0]
    alone = running.Cells(tmp_path, source)
    result = cells_of.train(Job(large, source, 1, pupils=plan.pupils(study, large)))
    size = sum(theta.nbytes for theta in result.teacher.params.values())
    monkeypatch.setattr("npkd.weights.MOST_BYTES", size + (1 << 20) + 1500)
    alone.save(large, result)
    assert alone.load(large).teacher.kept == {}
    events, keys = counted(study, source, tmp_path, work=None)
    assert large.key not in keys
    assert studies.report(study, source, events) == studies.report(study, source, done)
    monkeypatch.setattr("npkd.weights.MOST_BYTES", size)
    with pytest.raises(BadInput, match="bytes to be written"):
        alone.save(large, result)


def test_what_a_kill_left_half_written_is_taken_away_and_nothing_else(study, source, tmp_path):
    counted(study, source, tmp_path)
    (whole,) = (tmp_path / running.FOLDER).glob("large-*")
    left = [
        whole.with_name(f".{whole.name}.0123456789abcdef"),
        tmp_path / ".study.json.0123456789abcdef",
        tmp_path / ".study.png.0123456789abcdef",
    ]
    mine = [
        whole.with_name(f".{whole.name}"),
        tmp_path / ".study.json.bak",
        tmp_path / "study.json.0123456789abcdef",
    ]
    for path in left + mine:
        path.write_text("half")
    executor = AtOnce(invented)
    next(running.run(study, source, executor, tmp_path, at_once=1))
    assert all(path.exists() for path in left + mine)
    _, keys = counted(study, source, tmp_path)
    assert keys == []
    assert [path.exists() for path in left + mine] == [False] * 3 + [True] * 3


def test_more_seeds_and_settings_are_added_to_what_is_there(study, source, tmp_path):
    _, first = counted(study, source, tmp_path)
    _, second = counted(replace(study, seeds=(3, 4)), source, tmp_path)
    assert len(second) == studies.CELLS
    more = read(studies.TEXT + "[[setting]]\nname = 'L1'\nloss = 'l1'")
    events, third = counted(more, source, tmp_path)
    assert events[0] == running.Planned(studies.CELLS + 1, studies.CELLS)
    assert third == [small_cell(more.settings[-1].at(3)).key]
    assert not set(first) & set(second)


def test_nothing_of_other_images_is_used(study, source, tmp_path):
    counted(study, source, tmp_path)
    with np.load(source.path) as arrays:
        changed = {name: array ^ (array.dtype == np.uint8) for name, array in arrays.items()}
    np.savez(tmp_path / "other.npz", **changed)
    for others in (
        Source.of(str(tmp_path / "other.npz")),
        Source.of(source.path, held_out=True),
    ):
        events, keys = counted(study, others, tmp_path)
        assert events[0] == running.Planned(studies.CELLS, 0)
        assert len(keys) == studies.CELLS
    alike = replace(source, digest=source.digest[:8] + "0" * 56)  # in the names of files
    assert_refused(study, alike, tmp_path, BadInput, "it is of other settings or other data")
    events, keys = counted(study, source, tmp_path)  # what there was is still there
    assert events[0] == running.Planned(studies.CELLS, studies.CELLS)
    assert not keys


def test_a_folder_of_a_study_is_for_one_at_a_time_and_refused_without_resume(
    study, source, tmp_path
):
    with running.study_folder(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
        again = running.study_folder(folder)
        with pytest.raises(BadInput, match="another run is at work in it"), again:
            pass
    assert not (tmp_path / "a").exists()  # it was left empty
    counted(study, source, tmp_path)
    with pytest.raises(BadInput, match="already holds a study"), running.study_folder(tmp_path):
        pass
    with running.study_folder(tmp_path, resume=True) as folder:
        assert folder == tmp_path


# Failures


DIVERGED = training.Diverged("the loss became nan\nat last")


def failing(*cells, error=DIVERGED):
    """What does not come to an end for these cells."""

    def work(job):
        if job.cell in cells:
            raise error
        return invented(job)

    return work


def ended(events):
    """The keys of the cells that ended, in order; each of them once."""
    ended = [one.cell.key for one in events if isinstance(one, running.Done | running.Failed)]
    assert len(set(ended)) == len(ended)
    assert [one.number for one in events[-len(ended) :]] == list(range(1, len(ended) + 1))
    return ended


def test_a_setting_that_diverges_says_so_and_the_others_end(source, tmp_path):
    found = read(studies.TEXT + "[[setting]]\nname = 'wild'\nlearning_rate = 1e30")
    wild = small_cell(found.settings[-1].at(3)).key
    events = studies.run(found, source, AtOnce(), tmp_path)
    assert len(ended(events)) == studies.CELLS + 1
    reasons = studies.reasons(events)
    assert reasons.keys() == {wild}
    assert "small: " in reasons[wild]
    assert "try --learning-rate below 1e+30" in reasons[wild]
    report = studies.report(found, source, events)
    assert report["settings"][-1]["failed"] == {"seed 3, small": reasons[wild]}
    assert report["settings"][-1]["small"] == {}
    why = reasons[wild].removeprefix("small: ")
    assert f"    small, distilled, seed 3, of wild: {why}" in tables.conclusion(report)
    assert not running.Cells(tmp_path, source).path(small_cell(found.settings[-1].at(3))).exists()


def test_pupils_of_a_teacher_that_failed_say_so(study, source, tmp_path):
    seeds = replace(study, seeds=(3, 4))
    large, labels, *_ = plan.cells(seeds)
    events, keys = counted(seeds, source, tmp_path, failing(large))
    assert len(ended(events)) == 2 * studies.CELLS
    reasons = studies.reasons(events)
    assert reasons.pop(large.key) == "the loss became nan at last"
    assert len(reasons) == 3
    assert set(reasons.values()) == {"its teacher failed: the loss became nan at last"}
    assert labels.key in keys
    assert set(keys).isdisjoint(reasons)
    again, keys = counted(seeds, source, tmp_path)
    assert again[0] == running.Planned(2 * studies.CELLS, 2 * studies.CELLS - 4)
    assert set(keys) == {large.key, *reasons}


@pytest.mark.parametrize("error", [MemoryError(), OSError("no space"), BadInput("x"), KeyError(1)])
def test_whatever_a_job_raises_is_that_cells_own(study, source, tmp_path, error):
    large, labels, *_ = plan.cells(study)
    events, _ = counted(study, source, tmp_path, failing(labels, error=error))
    assert studies.reasons(events) == {labels.key: str(error) or "MemoryError"}
    assert len(ended(events)) == studies.CELLS
    assert large.key in studies.figures(events)


class Mortal(AtOnce):
    """Its jobs are done when they are waited for; those of `killers` end it with all it holds."""

    def __init__(self, killers):
        super().__init__(invented)
        self.killers, self.held, self.dead = killers, [], False

    def submit(self, train, /, job):
        if self.dead:
            raise BrokenExecutor("it is dead")
        self.jobs.append(job)
        assert len(self.jobs) < 100, "an endless loop"
        self.held.append(Future())
        return self.held[-1]

    def work_off(self):
        jobs = self.jobs[len(self.jobs) - len(self.held) :]
        if any(job.cell.key in self.killers for job in jobs):
            self.dead = True
        for future, job in zip(self.held, jobs, strict=True):
            if self.dead:
                future.set_exception(BrokenExecutor("a process died"))
            else:
                future.set_result(invented(job))
        self.held = []


class Mortals:
    """One after the other, each made when the one before is dead."""

    def __init__(self, monkeypatch, killers, dead_from=100):
        self.killers, self.dead_from, self.made = killers, dead_from, []
        wait = running.wait

        def working(*futures, **how):
            self.made[-1].work_off()
            return wait(*futures, **how)

        monkeypatch.setattr(running, "wait", working)

    def __call__(self):
        assert all(one.dead for one in self.made)
        assert len(self.made) < 100, "an endless loop"
        self.made.append(Mortal(self.killers))
        self.made[-1].dead = len(self.made) >= self.dead_from
        return self.made[-1]


@several
@given(data=st.data(), at_once=st.integers(1, 5))
def test_the_cells_that_kill_their_process_are_named_and_the_others_done(
    study, source, tmp_path_factory, data, at_once
):
    cells = plan.cells(study)
    killers = data.draw(st.sets(st.sampled_from([cell.key for cell in cells])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        mortals = Mortals(patch, killers)
        events = studies.run(
            study,
            source,
            mortals(),
            tmp_path_factory.mktemp("study"),
            at_once=at_once,
            renew=mortals,
        )
    assert sorted(ended(events)) == sorted(cell.key for cell in cells)
    expected = dict.fromkeys(killers, "its process died: a process died")
    for cell in cells:
        if cell.teacher and cell.teacher.key in killers:
            expected[cell.key] = f"its teacher failed: {expected[cell.teacher.key]}"
    assert studies.reasons(events) == expected


def test_without_another_executor_what_was_not_done_says_so(study, source, tmp_path, monkeypatch):
    large, labels, *small = plan.cells(study)
    mortals = Mortals(monkeypatch, {small[1].key})
    events = studies.run(study, source, mortals(), tmp_path, at_once=2)
    assert len(ended(events)) == studies.CELLS
    assert studies.figures(events).keys() == {large.key, labels.key}
    assert studies.reasons(events) == {
        small[0].key: "its process died: a process died",
        small[1].key: "its process died: a process died",
        small[2].key: "not begun, as the executor broke: a process died",
    }


@pytest.mark.parametrize("dead_from", [1, 2, 3])
def test_executors_that_are_dead_from_the_start_are_no_endless_loop(
    study, source, tmp_path, monkeypatch, dead_from
):
    large, labels, *_ = plan.cells(study)
    mortals = Mortals(monkeypatch, {large.key, labels.key}, dead_from)
    events = studies.run(study, source, mortals(), tmp_path, renew=mortals)
    assert len(mortals.made) == dead_from
    assert sorted(ended(events)) == sorted(cell.key for cell in plan.cells(study))
    assert studies.figures(events) == {}
    reasons = studies.reasons(events)
    of_suspects = sorted(reasons[cell.key] for cell in (large, labels))
    assert of_suspects[1] == "not begun, as the executor broke: it is dead"
    assert of_suspects[0] == of_suspects[1] or dead_from == 3
    assert of_suspects[0].startswith("its process died") == (dead_from == 3)


def test_a_folder_that_can_no_longer_be_written_to_ends_the_study(study, source, tmp_path):
    (tmp_path / running.FOLDER).write_text("in the way")
    with pytest.raises(BadInput, match="Not a directory; expected the folder of a study"):
        counted(study, source, tmp_path)


@pytest.mark.parametrize("number", range(studies.CELLS))
def test_a_full_disk_ends_the_study_and_what_was_done_before_is_gone_on_from(
    study, source, tmp_path, monkeypatch, number
):
    (tmp_path / "whole").mkdir()
    whole, _ = counted(study, source, tmp_path / "whole")
    fsync, synced = os.fsync, []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BadInput) as refused:
            counted(study, source, tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: cannot be written to: No space left on device; what is done is kept, and "
        "--resume goes on from it"
    )
    assert len(list((tmp_path / running.FOLDER).iterdir())) == number
    events, keys = counted(study, source, tmp_path)
    assert len(keys) == studies.CELLS - number
    assert studies.report(study, source, events) == studies.report(study, source, whole)


def test_where_the_executor_calls_off_what_it_was_given_the_study_ends(study, source, tmp_path):
    """As Dask's does where its scheduler has gone."""

    class CallingOff(AtOnce):
        def submit(self, train, /, job):
            future = super().submit(train, job)
            if len(self.jobs) == 3:
                future = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
            return future

    with pytest.raises(running.Gone, match="has called off the trainings"):
        studies.run(study, source, CallingOff(invented), tmp_path)
    assert len(list((tmp_path / running.FOLDER).iterdir())) == 2
    events, keys = counted(study, source, tmp_path)
    assert (len(keys), studies.reasons(events)) == (studies.CELLS - 2, {})


def test_a_teacher_that_is_taken_away_meanwhile_ends_the_study(study, source, tmp_path):
    events = running.run(study, source, AtOnce(invented), tmp_path, at_once=1)
    assert isinstance(next(events), running.Planned)
    large = next(events).cell
    path = running.Cells(tmp_path, source).path(large)
    path.unlink()
    with pytest.raises(BadInput, match=f"{large.key}.*: is gone"):
        list(events)


# What it found


def done_of(study, small, labels):
    """Cells with these accuracies of both nets by setting and seed, and one of the large net."""
    done = {}
    for k, setting in enumerate(study.settings):
        for seed, config in enumerate(map(setting.at, study.seeds)):
            for cell, figures in (
                (labels_cell(config), {"accuracy": labels[seed], "nll": 1.0}),
                (small_cell(config), {"accuracy": small[k][seed], "teacher_accuracy": 0.75}),
                (large_cell(config), {"accuracy": 0.75}),
            ):
                done.setdefault(cell.key, studies.as_done(figures, cell))
    return done


@pytest.fixture(scope="module")
def compared():
    """Settings that beat labels, lose, neither, the same net, and one whose nets failed."""
    with studies.small_nets():
        found = read(
            "seeds = [0, 1, 2]\n[all]\nepochs = 1\nlarge_epochs = 1\n"
            + "".join(
                f"[[setting]]\nname = '{name}'\nlearning_rate = {rate}\nlabel_weight = {weight}\n"
                for name, rate, weight in (
                    *(("beats", 0.01, 0), ("loses", 0.02, 0), ("neither", 0.04, 0)),
                    *(("the same", 0.03, 1), ("failed", 0.05, 0)),
                )
            )
        )
    labels = [0.5, 0.6, 0.7]
    small = [[0.6, 0.7, 0.81], [0.4, 0.5, 0.59], [0.4, 0.7, 0.7], labels, [0, 0, 0]]
    done = done_of(found, small, labels)
    last = [small_cell(found.settings[-1].at(seed)).key for seed in found.seeds]
    done = {key: one for key, one in done.items() if key not in last}
    failed = dict.fromkeys(last, "the loss became nan")
    source = Source("corners.npz", "0" * 64)
    return found, results.report(found, source, tiny.dataset(), done, failed)


def test_the_report_has_each_figure_by_seed_and_its_interval(compared):
    _, report = compared
    assert json.loads(json.dumps(report, allow_nan=False))["seeds"] == [0, 1, 2]
    beats, *_, failed = report["settings"]
    assert beats["small"]["accuracy"]["values"] == {"0": 0.6, "1": 0.7, "2": 0.81}
    assert beats["labels"]["accuracy"]["mean"] == pytest.approx(0.6)
    assert beats["difference"]["values"] == pytest.approx({"0": 0.1, "1": 0.1, "2": 0.11})
    pairs = np.tile(np.array([[0.6 - 0.5], [0.7 - 0.6], [0.81 - 0.7]]), 12)
    interval = over_seeds_and_images(pairs)
    assert beats["difference"]["mean"] == pytest.approx(interval.mean)
    for name in ("half", "p", "smallest"):
        assert beats["difference"][name] == pytest.approx(getattr(interval, name))
    tested = [one["difference"] for one in report["settings"] if one["difference"]]
    adjusted = holm([one["p"] for one in tested])
    assert [one["adjusted_p"] for one in tested] == adjusted
    verdicts = {one["name"]: one["verdict"] for one in report["settings"]}
    assert verdicts == {
        "beats": "beats",
        "loses": "loses",
        "neither": "none",
        "the same": "same",
        "failed": "failed",
    }
    assert failed["failed"] == {f"seed {seed}, small": "the loss became nan" for seed in range(3)}
    assert (failed["small"], failed["difference"], failed["others"]) == ({}, None, {})
    assert beats["others"] == {}


def test_differences_of_other_figures_are_of_the_seeds_that_both_nets_have():
    small = {"nll": {"values": {"0": 0.5, "1": 0.75, "2": 1.0, "4": 9.0}}, "mse": {"values": {}}}
    labels = {"nll": {"values": {"0": 1.0, "1": 1.0, "2": 1.5, "3": 7.0}}}
    others = results._differences(small, labels, "accuracy")
    assert list(others) == ["nll"]
    interval = over_seeds([-0.5, -0.25, -0.5])
    assert others["nll"] == {
        "mean": interval.mean,
        "half": interval.half,
        "values": {"0": -0.5, "1": -0.25, "2": -0.5},
    }


def test_where_a_training_failed_all_figures_are_of_the_seeds_that_both_nets_have(compared):
    study, _ = compared
    study = replace(study, settings=study.settings[:1], seeds=(0, 1, 2, 3))
    done = done_of(study, [[0.6, 0.7, 0.81, 0.9]], [0.5, 0.6, 0.7, 0.0])
    lost = small_cell(study.settings[0].at(3)).key
    del done[lost]
    source = Source("corners.npz", "0" * 64)
    report = results.report(study, source, tiny.dataset(), done, {lost: "it diverged"})
    (setting,) = report["settings"]
    for figures in (setting["small"], setting["labels"], setting["large"]):
        assert list(figures["accuracy"]["values"]) == ["0", "1", "2"]
    means = (setting[net]["accuracy"]["mean"] for net in ("small", "labels"))
    assert setting["difference"]["mean"] == pytest.approx(next(means) - next(means))
    assert tables.rows(report)[1][0] == "beats (3 of 4 seeds)"
    assert page.answer(report)[1] == "In 1 the training of a seed failed, which is left out."


def test_a_report_says_in_what_settings_differ_and_what_the_net_from_labels_has_otherwise():
    found = read(
        "seeds = [0]\n[[setting]]\nname = 'a'\nloss = ['l2', 'kl temperature=4']\n"
        "against = {epochs = 7}\n[[setting]]\nname = 'b'\nlabelled = 5"
    )
    report = results.report(found, Source("c.npz", "0" * 64), tiny.dataset(), {}, {})
    assert [one["against"] for one in report["settings"]] == [{"epochs": 7}, {"epochs": 7}, {}]
    assert tables.rows_of_settings(json.loads(json.dumps(report))) == [
        ["", "loss", "labelled", "the net from labels has"],
        ["a, loss l2", "l2", "all", "epochs 7"],
        ["a, loss kl temperature=4", "kl(temperature=4)", "all", "epochs 7"],
        ["b", "l2", "5", "–"],
    ]
    one = results.report(
        replace(found, settings=found.settings[2:]),
        Source("c.npz", "0" * 64),
        tiny.dataset(),
        {},
        {},
    )
    assert tables.rows_of_settings(one) == [[""]]


def test_a_net_that_super_resolves_is_compared_with_one_from_true_images(source, tmp_path):
    found = read("task = 'super-resolve'\nseeds = [0]\n[all]\nepochs = 1\n[[setting]]\n")
    report = studies.report(found, source, studies.run(found, source, AtOnce(), tmp_path))
    assert tables.rows(report)[0][3] == "from true images"
    assert tables.rows_of_others(report)[0] == ["", "net", "best epoch"]
    words = "\n".join([tables.table(report), *tables.conclusion(report), page.page(report, [])])
    assert "label" not in re.sub("label[a-z_]* ", "", words)


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.1, 0.0, "+10.0"),
        (0.1, 1e-12, "+10.0"),
        (0.1, 2e-5, "+10.000 ± 0.002"),
        (-1e-6, 0.01, "+0.0 ± 1.0"),
        (-0.01, None, "−1.0"),
    ],
)
def test_an_interval_in_words_is_neither_nothing_nor_too_long(mean, half, text):
    assert tables.written({"mean": mean, "half": half}, "accuracy", "+") == text


def test_each_net_of_a_study_is_measured_once():
    text = (
        "[all]\nsmall_input = 'high'\n[[setting]]\nepochs = [1, 2]\n[[setting]]\n"
        "small_input = 'low'"
    )
    nets = results.nets_of(read(text), tiny.dataset())
    assert [(net["model"], net["image_shape"]) for net in nets] == [
        ("large", [3, 32, 32]),
        ("small", [3, 32, 32]),
        ("small", [3, 16, 16]),
    ]
    assert nets[1]["macs"] > nets[2]["macs"]
    assert all(0 < net["latency_ms"]["1"] < net["latency_ms"]["64"] for net in nets)
    head, _, _, _, *lines = tables.table_of_nets(nets).splitlines()
    assert head == tables.HEADING_OF_NETS
    assert [line.split()[:2] for line in lines] == [
        ["large", "3×32×32"],
        ["small", "3×32×32"],
        ["small", "3×16×16"],
    ]


def test_the_table_and_the_conclusion_say_what_the_report_has(compared):
    _, report = compared
    head, _, titles, line, *rows = tables.table(report).splitlines()
    assert head == (
        "accuracy, %, and differences, points, on 12 test images: mean of 3 seed(s) ± half of its "
        "95 % interval, for such seeds and images; p and verdict adjusted for 3 setting(s); "
        '"found from": what would have been found, tested by itself, in 80 studies of 100'
    )
    columns = ["teacher", "distilled", "from labels", "difference", "found from", "p"]
    assert [title.strip() for title in titles.split("  ") if title.strip()] == columns
    assert set(line) == {"─"}
    assert [" ".join(row.split()) for row in rows] == [
        "beats 75.0 70.3 ± 32.0 60.0 ± 30.4 +10.3 ± 1.8 2.2 0.005 BEATS",
        "loses 75.0 49.7 ± 28.9 60.0 ± 30.4 −10.3 ± 1.8 2.2 0.005 LOSES",
        "neither 75.0 60.0 ± 52.7 60.0 ± 30.4 +0.0 ± 30.4 37.9 1.000 NO DIFFERENCE FOUND",
        "the same – – 60.0 ± 30.4 – – – the same net",
        "failed – – 60.0 ± 30.4 – – – FAILED",
    ]
    assert tables.conclusion(report) == [
        "BEATS the net from labels:",
        "    beats: +10.3 ± 1.8 points",
        "LOSES to the net from labels:",
        "    loses: −10.3 ± 1.8 points",
        "NO DIFFERENCE FOUND to the net from labels:",
        "    neither: +0.0 ± 30.4 points",
        "failed, and left out:",
        *(
            f"    small, distilled, seed {seed}, of failed: the loss became nan"
            for seed in range(3)
        ),
    ]


def test_sections_of_what_studies_found_replace_those_of_the_same_question(compared):
    _, report = compared
    asked = [report | {"question": f"Does {word} help?", "expected": "No.\nNo."} for word in "ab"]
    first, second = map(published.section, asked)
    assert "\n\n*Expected before it ran:* No. No.\n\n*Found:* 1 of 3 settings beats" in first
    assert (
        "| beats | 75.0 | 70.3 ± 32.0 | 60.0 ± 30.4 | +10.3 ± 1.8 | 2.2 | 0.005 | BEATS |" in first
    )
    page = published.written("", [first, second])
    assert page.startswith("# ")
    assert page.count("\n## ") == 2
    assert published.written(page, [second]) == page
    changed = published.section(asked[0] | {"expected": "Yes."})
    assert published.written(page, [changed]) == published.written("", [changed, second])


def test_names_that_somebody_made_up_add_no_lines_and_keep_their_end(compared):
    _, report = compared
    lines = [tables.table(report).splitlines(), tables.conclusion(report)]
    names = ["a\nb", "\x1b[31mred", "\u202egnp.exe", "\0\u2028", "x" * 5000 + " epochs 9"]
    settings = [one | {"name": name} for one, name in zip(report["settings"], names, strict=True)]
    made_up = report | {"settings": settings}
    others = [tables.table(made_up).splitlines(), tables.conclusion(made_up)]
    assert [len(of) for of in others] == [len(of) for of in lines]
    for line in (*others[0][1:], *others[1]):
        assert line.isprintable()
        assert len(line) < 150
    assert any(line.startswith("a b  ") for line in others[0])
    assert any("xxx… " not in line and "xx epochs 9  " in line for line in others[0])
    assert [one["name"] for one in made_up["settings"]] == names


# Multiples of 1/1024, whose sums and differences are exact
_exact = st.integers(0, 1024).map(lambda number: number / 1024)


@settings(several, max_examples=15)
@given(
    st.lists(st.tuples(_exact, _exact, _exact), min_size=3, max_size=3),
    st.integers(0, 2),
)
def test_what_a_seed_does_to_both_nets_alike_cancels(compared, drawn, lacking):
    found, _ = compared
    source = Source("corners.npz", "0" * 64)

    def differences(shifts):
        small = [a + shift for (a, _, _), shift in zip(drawn, shifts, strict=True)]
        labels = [b + shift for (_, b, _), shift in zip(drawn, shifts, strict=True)]
        done = done_of(found, [small, small, small, labels, small], labels)
        del done[small_cell(found.settings[0].at(lacking)).key]
        report = results.report(found, source, tiny.dataset(), done, {})
        return [(one["difference"], one["verdict"]) for one in report["settings"]]

    assert differences([0, 0, 0]) == differences([shift for _, _, shift in drawn])
    assert len(differences([0, 0, 0])[0][0]["values"]) == 2  # the seed that lacks one is left out
