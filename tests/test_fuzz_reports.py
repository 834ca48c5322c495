"""Malformed folders of runs: `npkd report` refuses them in one line, or makes a sound page of them.

Which values are sound, `contents.described` and `finished` of `npkd.distill.report` say; here it is
tried that nothing else comes through: no number that is none, no tag from outside, no more time or
memory than a run's folder takes. What is refused leaves the folder as it was.
"""

import copy
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pages
import pytest
import studies
import tiny

from npkd import cli, weights
from npkd.distill.report import contents
from npkd.printing import pictures

Files = dict[str, bytes]
TARGET = "report folders"
TASKS = {"classify": {}, "super-resolve": tiny.RESOLVE}
DRAWN = malformed.png(1, 1)
EPOCHS, PICTURES, FILTERS, CLASSES = 3000, 1500, 20_000, 3000  # far more than any run has


@pytest.fixture(autouse=True)
def _small_nets():
    with studies.small_nets():
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Files]:
    """The files of a finished run, by task."""
    found = {}
    with studies.small_nets():
        for task, settings in TASKS.items():
            folder = tmp_path_factory.mktemp("run")
            _, finished = tiny.finish(**settings)
            contents.write_json(folder / "report.json", finished.report)
            weights.save_weights(folder / "samples.npz", finished.samples)
            for name, network in finished.networks.items():
                weights.save_weights(folder / f"{name}.npz", network.params)
            found[task] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where the texts, numbers, … of a report are."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, one in items for place in places(one, (*path, key))]
    return [path]


def with_value(held: dict, place: tuple, value: Any) -> dict:
    """A report with something else in one place."""
    other = copy.deepcopy(held)
    inner = other
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return other


def as_json(held: Any) -> Files:
    return {"report.json": json.dumps(held).encode()}


def junk(files: Files, rng: np.random.Generator) -> Files:
    return as_json(malformed.junk_in(json.loads(files["report.json"]), rng))


def hostile(files: Files, rng: np.random.Generator) -> Files:
    """In one place, whatever stood there, or in all where any text may stand."""
    held, texts = json.loads(files["report.json"]), rng.permutation(pages.HOSTILE).tolist()
    if rng.integers(2):
        return as_json(pages.with_texts(held, texts))
    some = places(held)
    return as_json(with_value(held, some[rng.integers(len(some))], texts[0]))


def no_number(files: Files, rng: np.random.Generator) -> Files:
    held = json.loads(files["report.json"])
    some = [place for place in places(held) if "config" not in place]
    bad = ["NaN", "Infinity", "-Infinity", "null", "1e999", "-1E+999", "1e308", "9" * 400]
    bad += ["9" * 5000, "-" + "9" * 5000, "true", "[]", '"1"']
    text = json.dumps(with_value(held, some[rng.integers(len(some))], "HERE"))
    return {"report.json": text.replace('"HERE"', bad[rng.integers(len(bad))]).encode()}


def other_json(files: Files, rng: np.random.Generator) -> Files:
    data = files["report.json"]
    return {
        "report.json": [
            *(b"", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 9000),
            *(b'{"task": "classify"}', data[:-2] + b', "seed": 4}', data.decode().encode("utf-16")),
            b"\xef\xbb\xbf" + data,
            data.replace(b'"seed"', b'"\\ud800": 1, "seed"'),
        ][rng.integers(12)]
    }


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(data)))


def one_array(files: Files, rng: np.random.Generator) -> tuple[str, dict[str, np.ndarray], str]:
    """A file, what it holds, and the name of one of its arrays."""
    file = [name for name in files if name.endswith(".npz")][rng.integers(4)]
    arrays = arrays_of(files[file])
    return file, arrays, list(arrays)[rng.integers(len(arrays))]


def too_many(files: Files, rng: np.random.Generator) -> Files:
    """Epochs, or classes with all that these ask for."""
    held = json.loads(files["report.json"])
    if rng.integers(2):
        (first, *_) = held["history"]["small"]
        held["history"]["small"] = [first | {"epoch": k + 1} for k in range(EPOCHS)]
        return as_json(held)
    held["class_names"] = [str(k) for k in range(CLASSES)]
    samples = arrays_of(files["samples.npz"])
    samples |= {
        name: np.resize(array, (len(array), CLASSES))
        for name, array in samples.items()
        if name.startswith("logits")
    }
    return as_json(held) | {"samples.npz": malformed.npz(samples)}


def many_pictures(files: Files, rng: np.random.Generator) -> Files:
    samples = arrays_of(files["samples.npz"])
    for name in ["chosen", "firsts", "x_high"][rng.integers(2) :]:
        samples[name] = np.resize(samples[name], (PICTURES, *samples[name].shape[1:]))
    return {"samples.npz": malformed.npz(samples)}


def many_filters(files: Files, rng: np.random.Generator) -> Files:
    name = ["large", "small", "small_from_labels"][rng.integers(3)] + ".npz"
    arrays = arrays_of(files[name])
    shape = (FILTERS, *arrays["conv1.weight"].shape[1:])
    return {
        name: malformed.npz(arrays | {"conv1.weight": np.resize(arrays["conv1.weight"], shape)})
    }


BOMBS = {"large.npz": malformed.bomb(), "samples.npz": malformed.overlapping_bomb()}


def kinds(other: Files, canary: str) -> dict:
    """Ways of damage by name: what becomes of some of the files. other: those of another run."""

    def damaged(alter: malformed.Bytes):
        def damage(files: Files, rng: np.random.Generator) -> Files:
            name = list(files)[rng.integers(len(files))]
            return {name: alter(files[name], rng)}

        return damage

    def altered(alter):
        def damage(files: Files, rng: np.random.Generator) -> Files:
            file, arrays, name = one_array(files, rng)
            return {file: malformed.npz(arrays | {name: alter(arrays[name], rng)})}

        return damage

    def huge(files: Files, rng: np.random.Generator) -> Files:
        file, _, name = one_array(files, rng)
        return {file: malformed.huge_npz(name, rng)}

    def bomb(files: Files, rng: np.random.Generator) -> Files:
        name = list(BOMBS)[rng.integers(2)]
        return {name: BOMBS[name]}

    def pickled(files: Files, rng: np.random.Generator) -> Files:
        if not rng.integers(3):
            return {list(files)[rng.integers(5)]: malformed.other_pickle(canary, rng)}
        return altered(lambda *_: np.array([malformed.harmful(canary, rng)]))(files, rng)

    def swapped(files: Files, rng: np.random.Generator) -> Files:
        names = list(files)
        name = names[rng.integers(5)]
        if rng.integers(2):
            return {name: other[name]}
        return {name: files[names[rng.integers(5)]]}

    return {
        **{kind: damaged(alter) for kind, alter in malformed.DAMAGE.items()},
        "other values": junk,
        "HTML and scripts": hostile,
        "NaN, infinity, null": no_number,
        "other JSON": other_json,
        **{kind: altered(alter) for kind, alter in malformed.ALTERED.items()},
        "huge sizes": huge,
        "many epochs or classes": too_many,
        "many pictures": many_pictures,
        "many filters": many_filters,
        "zip bombs": bomb,
        "code in a pickle": pickled,
        "files of other nets": swapped,
    }


class Folder:
    """A folder of a run, and the command sent into it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture):
        self.path, self.capsys = path, capsys

    def write(self, files: Files) -> None:
        """These files and no others."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        for name, data in files.items():
            (self.path / name).write_bytes(data)

    def report(self) -> pages.Page:
        """The page that `npkd report` makes, found sound: or its one line as a ValueError."""
        held = {path.name: path.read_bytes() for path in self.path.iterdir()}
        status = cli.main(["report", str(self.path)])
        shown = self.capsys.readouterr()
        found = {path.name: path.read_bytes() for path in self.path.iterdir()}
        if status:
            assert (status, shown.out) == (2, "")
            assert found == held
            raise ValueError(shown.err.removesuffix("\n"))
        assert shown.err == ""
        assert {name: found[name] for name in held} == held
        assert found.keys() == held.keys() | {"report.html", "report.png"}
        page = pages.read(self.path / "report.html")
        assert not re.search(r"\b(nan|inf|infinity)\b", page.text, re.IGNORECASE)
        return page

    def predict(self, images: Path) -> int:
        """The status of `npkd predict`: what it says is JSON, or one line."""
        status = cli.main(["predict", str(self.path), str(images), "--json", "--net", "both"])
        shown = self.capsys.readouterr()
        if status == 2:
            assert (shown.out, shown.err.count("\n")) == ("", 1)
        else:
            problems = ["problem" in one for one in json.loads(shown.out)["images"]]
            assert status == any(problems)
        return status


@pytest.fixture
def folder(tmp_path, capsys) -> Folder:
    return Folder(tmp_path / "run", capsys)


def test_a_malformed_folder_is_refused_or_makes_a_sound_page(
    attempt, inputs, runs, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(pictures, "png", lambda draw, **size: DRAWN)
    rng = np.random.default_rng(0)
    canary = str(tmp_path / "it-ran")
    for task, other in (("classify", "super-resolve"), ("super-resolve", "classify")):
        folder.write(runs[task])
        assert attempt(TARGET, "none", folder.report).images >= 8
        damage = kinds(runs[other], canary)
        for _ in inputs(0.02 / len(damage)):
            for kind, alter in damage.items():
                folder.write(runs[task] | alter(runs[task], rng))
                attempt(TARGET, kind, folder.report)
                assert not Path(canary).exists(), kind


def test_it_predicts_new_images_or_is_refused(inputs, runs, folder, tmp_path):
    rng = np.random.default_rng(1)
    images, canary = tmp_path / "new.npy", str(tmp_path / "it-ran")
    np.save(images, rng.integers(0, 256, (2, 40, 36, 3), dtype=np.uint8))
    damage = kinds(runs["super-resolve"], canary)
    folder.write(runs["classify"])
    assert folder.predict(images) == 0
    for _ in inputs(0.01 / len(damage)):
        for kind, alter in damage.items():
            folder.write(runs["classify"] | alter(runs["classify"], rng))
            folder.predict(images)
            assert not Path(canary).exists(), kind


@pytest.mark.parametrize(
    ("task", "loss", "figure"), [("classify", 1e100, 1e100), ("super-resolve", -1e-100, 1e-6)]
)
def test_what_is_just_sound_is_drawn(task, loss, figure, runs, folder, monkeypatch):
    """The largest and the smallest numbers, hostile names, weights that are all the same."""
    pytest.importorskip("matplotlib")
    png = pictures.png
    monkeypatch.setattr(pictures, "png", lambda draw, **size: png(draw, **size | {"dpi": 20}))
    held = pages.with_texts(json.loads(runs[task]["report.json"]), pages.HOSTILE)
    for epoch in (entry for history in held["history"].values() for entry in history):
        epoch["loss"] = (-1) ** epoch["epoch"] * loss
    for model in held["models"].values():
        model |= {"latency_ms": {"1": figure, "64": figure}, "parameters": 10**15}
    held["compression"] |= {"macs": figure, "latency": {"1": figure, "64": figure}}
    arrays = arrays_of(runs[task]["large.npz"])
    same = malformed.npz({name: np.zeros_like(theta) for name, theta in arrays.items()})
    folder.write(runs[task] | as_json(held) | {"large.npz": same})
    assert folder.report().images >= 8
