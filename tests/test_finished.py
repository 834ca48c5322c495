"""The files of a finished run are read back as they were written; what no run writes is refused."""

import json
import math

import numpy as np
import pages
import pytest
import studies
import tiny

from npkd import weights
from npkd.distill.report import contents, finished, page
from npkd.files import BadInput, OtherVersion, Unreadable
from npkd.printing import pictures

SETTINGS = {"classify": {}, "resnets": tiny.RESNETS, "super-resolve": tiny.RESOLVE}


@pytest.fixture(autouse=True, scope="module")
def _small_nets():
    with studies.small_nets():
        yield


@pytest.fixture(scope="module", params=SETTINGS)
def run(request):
    """A finished run of each task."""
    return tiny.finish(**SETTINGS[request.param])[1]


@pytest.fixture(scope="module")
def classified():
    """One that classifies."""
    return tiny.finish()[1]


def write(folder, run, changes=(), **arrays):
    """The files of a run; with changes to report.json, or other arrays in the file of a name."""
    held = json.loads(json.dumps(run.report))
    for place, value in changes:
        inner = held
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    (folder / "report.json").write_text(json.dumps(held))
    files = {"samples": run.samples} | {
        name: net.state_dict() for name, net in run.networks.items()
    }
    for name, params in files.items():
        weights.save_weights(folder / f"{name}.npz", params | arrays.get(name, {}))


def test_what_a_run_writes_is_read_back_to_the_last_value(run, tmp_path):
    """So each value of report.json is described."""
    write(tmp_path, run)
    held, samples, weights = finished.read(tmp_path)
    assert held == json.loads((tmp_path / "report.json").read_text())
    files = {"samples": samples} | weights
    for name, params in {
        "samples": run.samples,
        "large": run.networks["large"].state_dict(),
    }.items():
        assert files[name].keys() == params.keys()
        for key, array in params.items():
            np.testing.assert_array_equal(files[name][key], array, strict=True)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("models.small.mse", math.nan, " is NaN, expected a number from 0 to 1e+100"),
        ("models.large.accuracy", 1.5, " is 1.5, expected a number from 0 to 1"),
        ("models.large.macs", 0.5, " is 0.5, expected a whole number from 1 to 1,000,000,000,0"),
        ("models.small.latency_ms.1", 0, " is 0, expected a number from 1e-06 to 1e+100"),
        ("history.large", [], " is [], expected a list of 1 to 100,000"),
        ("data.image_shape", [3, 28, 30], " is [3, 28, 30], expected the shape of images"),
        ("seconds.total", -math.inf, " is -Infinity, expected a number from 0 to 1e+100"),
        ("seed", "<script>", ' is "<script>", expected a whole number from 0'),
        ("seed", 10**4000, " is Infinity, expected a whole number from 0"),
        ("threads", True, " is true, expected a whole number from 1 to 1,000,000,000,000,000"),
        ("task", "segment", " is \"segment\", expected one of ['classify', 'super-resolve']"),
        ("config.teacher_input", None, " is null, expected one of ['low', 'high']"),
        ("config.momentum", math.nan, " is NaN, expected a text, a number, true, false or null"),
        ("config.epochs", 3, "history.small has 2 epochs, expected 3"),
        ("versions.numpy", 2.4, " is 2.4, expected a text"),
        ("versions", dict.fromkeys(map(str, range(101)), "1"), " is an object, expected one of 1"),
        ("compression", {"parameters": 1.0}, ".bytes is missing"),
        ("class_names", "x" * 99, f' is "{"x" * 38}…, expected a list of 1 to 1,000,000'),
    ],
)
def test_a_value_that_no_run_writes_is_named_with_its_place(
    classified, tmp_path, place, value, words
):
    write(tmp_path, classified, [(place.split("."), value)])
    place = "" if words.startswith("history") else place
    with pytest.raises(BadInput) as refused:
        contents.read_json(tmp_path / "report.json")
    assert str(refused.value).startswith(f"{tmp_path / 'report.json'}: {place}{words}")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (('"loss"', '"epoch"'), "'epoch' stands twice in one object; expected the report of a run"),
        (('"epoch": 2', '"epoch": 1'), "history.small has epochs that are not numbered from 1 on"),
        (
            ('"total": ', '"total": 1e999, "other": '),
            "seconds.total is Infinity, expected a number",
        ),
        (('"corner 1"', '"corner 0"'), 'class_names has "corner 0" 2 times, expected once'),
        (('"seed"', '{"seed"'), "Expecting property name enclosed in double quotes"),
        (('"seed": 3', '"seed": ' + "[" * 100_000), "nested too deeply"),
    ],
)
def test_json_of_other_kinds_is_refused(classified, tmp_path, changed, words):
    write(tmp_path, classified)
    path = tmp_path / "report.json"
    path.write_text(path.read_text().replace(*changed))
    with pytest.raises(BadInput, match=words) as refused:
        contents.read_json(path)
    assert len(str(refused.value)) < 1000


def test_a_report_that_memory_does_not_hold_may_be_sound(classified, tmp_path, monkeypatch):
    def too_much(*_, **__):
        raise MemoryError

    write(tmp_path, classified)
    monkeypatch.setattr(json, "loads", too_much)
    with pytest.raises(Unreadable, match=r"report.json: not enough memory to read it as"):
        contents.read_json(tmp_path / "report.json")


def test_an_older_report_without_a_loss_is_taken(classified, tmp_path, monkeypatch):
    write(tmp_path, classified)
    held, samples, weights = finished.read(tmp_path)
    del held["loss"], held["config"]["loss"]
    contents.write_json(tmp_path / "report.json", held)
    assert contents.read_json(tmp_path / "report.json") == held
    monkeypatch.setattr(pictures, "png", lambda draw, **size: b"")
    shown = pages.Page(page.page(held, samples, weights))
    assert "the squared distance of the two nets’ outputs" in shown.text


def test_a_report_of_another_version_is_taken_if_it_is_sound_and_else_named(classified, tmp_path):
    other = (("versions", "npkd"), "9.9")
    write(tmp_path, classified, [other])
    assert finished.read(tmp_path)[0]["versions"]["npkd"] == "9.9"
    write(tmp_path, classified, [other, (("untrained",), None)])
    with pytest.raises(OtherVersion, match=r"was written by npkd 9.9, .*: untrained is null"):
        finished.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "key", "alter", "words"),
    [
        ("samples", "labels", lambda a: a + 1, "labels has values that are not from 0 to 3"),
        ("samples", "chosen", lambda a: a + 12, "chosen has values that are not from 0 to 11"),
        ("samples", "labels", lambda a: a[1:], "labels is int64 (11,), expected int64 (12,)"),
        ("samples", "firsts", lambda a: a + 0.0, "firsts is float64 (4,), expected int64 (4,)"),
        (
            *("samples", "firsts", lambda a: np.resize(a, 1500)),
            "firsts is int64 (1500,), expected int64 (12,)",
        ),
        (
            *("samples", "logits/small", lambda a: a[:, :3]),
            "logits/small is float32 (12, 3), expected float32 (12, 4)",
        ),
        (
            *("samples", "logits/large_low", lambda a: a * np.nan),
            "logits/large_low has values that are not from -3.40282e+38 to 3.40282e+38",
        ),
        ("samples", "more", None, "has an array that is no run's, more"),
        ("large", "more", None, "has an array that is no run's, more"),
        (
            *("large", "conv1.weight", lambda a: np.resize(a, (20_000, 3, 3, 3))),
            "conv1.weight is float32 (20000, 3, 3, 3), expected float32 (3, 3, 3, 3)",
        ),
        (
            *("small", "fc2.weight", lambda a: a[:3]),
            "fc2.weight is float32 (3, 8), expected float32 (4, 8)",
        ),
        (
            *("small_from_labels", "fc1.bias", lambda a: a - np.inf),
            "fc1.bias has values that are not from -3.40282e+38 to 3.40282e+38",
        ),
    ],
)
def test_an_array_that_no_run_writes_is_named(classified, tmp_path, name, key, alter, words):
    write(tmp_path, classified)
    held = weights.load_weights(tmp_path / f"{name}.npz")
    write(tmp_path, classified, **{name: {key: alter(held[key]) if alter else np.zeros(3)}})
    with pytest.raises(BadInput) as refused:
        finished.read(tmp_path)
    assert str(refused.value) == f"{tmp_path / name}.npz: {words}"


def test_a_run_that_is_not_finished_is_said_to_be(classified, tmp_path):
    write(tmp_path, classified)
    (tmp_path / "checkpoint-0000000007.npkd").touch()
    finished.read(tmp_path)  # it was stopped only as its checkpoints were taken away
    (tmp_path / "report.json").unlink()
    with pytest.raises(BadInput, match=r"its run is not finished; go on with it .* --resume"):
        finished.read(tmp_path)


def test_an_array_that_is_missing_is_named(classified, tmp_path):
    write(tmp_path, classified)
    weights.save_weights(tmp_path / "small.npz", {"conv1.bias": np.zeros(3)})
    with pytest.raises(BadInput, match=r"small.npz: lacks conv1.weight"):
        finished.read(tmp_path)


def test_a_file_that_unpacks_to_more_than_its_size_is_refused(classified, tmp_path):
    write(tmp_path, classified)
    np.savez_compressed(tmp_path / "large.npz", **{"conv1.weight": np.zeros((10**6, 3, 3, 3))})
    with pytest.raises(BadInput, match=r"large.npz: .* unpacks to 216,000,\d+ bytes; at most"):
        finished.read(tmp_path)


def test_of_many_classes_no_table_is_drawn(classified, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "png", lambda draw, **size: drawn.append(size) or b"")
    write(tmp_path, classified)
    with_tables = page.page(*finished.read(tmp_path))
    number = len(drawn)
    monkeypatch.setattr(page, "MOST_CLASSES", 3)
    without = page.page(*finished.read(tmp_path))
    assert len(drawn) == 2 * number - 3
    assert "There are 4 classes, too many to be seen" in pages.Page(without).text
    assert pages.Page(with_tables).images == pages.Page(without).images + 3
