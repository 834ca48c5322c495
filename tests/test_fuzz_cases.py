"""Thousands of malformed folders of cases, and of results for them, as others may write them.

`npkd validate check` judges them, or refuses them in one line; see `fuzzing`.
"""

import copy
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pytest

from npkd import cli
from npkd.validate import by_npkd
from npkd.validate.program import Case
from npkd.validate.questions import exchange
from npkd.validate.questions.subjects import cases

NAMES = [
    *("conv2d", "linear", "max_pool2d", "relu", "softmax", "upsample bilinear", "l2", "kl", "mix"),
    *("rkd_angle", "sgd", "adamw", "augmentation", "teacher cache", "ragged batch", "preparation"),
    *("evaluation mode", "workers"),
]


class Given:
    """A case of each kind in a folder of its own making, and right results for it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        self.results = folder / "results.npz"
        folder.mkdir()
        some = {case.subject: case for case in cases(np.random.default_rng(0), NAMES)}
        self.cases = list(some.values())
        self.whole = [self._written(case) for case in self.cases]

    def _written(self, case: Case) -> tuple[dict, bytes, bytes]:
        exchange.export(self.folder, [case])
        exchange.write_results(self.results, {case.name: by_npkd.results(case)})
        manifest = json.loads((self.folder / exchange.MANIFEST).read_bytes())
        del manifest["vocabulary"]
        arrays = (self.folder / exchange.INPUTS).read_bytes()
        return manifest, arrays, self.results.read_bytes()

    def write(self, manifest: bytes, arrays: bytes, results: bytes) -> None:
        (self.folder / exchange.MANIFEST).write_bytes(manifest)
        (self.folder / exchange.INPUTS).write_bytes(arrays)
        self.results.write_bytes(results)

    def read(self, known: Case) -> dict[str, dict[str, np.ndarray]]:
        return exchange.read_results(self.results, [known])

    def check(self, *options: str) -> str:
        """`npkd validate check`: what it says, or ValueError with its line."""
        status = cli.main(["validate", "check", str(self.folder), str(self.results), *options])
        shown = self.capsys.readouterr()
        if status == 2:
            assert shown.out == ""
            assert shown.err.startswith("npkd validate check: ")
            raise ValueError(shown.err.removesuffix("\n"))
        assert status in (0, 1)
        assert shown.err == ""
        assert "tensors: " in shown.out.splitlines()[-1]
        assert all(line.isprintable() for line in shown.out.splitlines())
        return shown.out


@pytest.fixture
def given(tmp_path, capsys) -> Given:
    return Given(tmp_path / "cases", capsys)


def text_of(manifest: Any) -> bytes:
    return json.dumps(manifest).encode()


def altered(manifest: dict, alter: Callable, rng: np.random.Generator) -> bytes:
    """The manifest with its case altered."""
    other = copy.deepcopy(manifest)
    alter(other["cases"][0], rng)
    return text_of(other)


def with_other_array(
    manifest: dict, arrays: bytes, kind: str, rng: np.random.Generator
) -> tuple[bytes, bytes]:
    """Another array in the place of an input, rightly listed."""
    manifest = copy.deepcopy(manifest)
    tensors = manifest["cases"][0]["tensors"].values()
    stored = dict(np.load(io.BytesIO(arrays)))
    if stored:
        key = list(stored)[rng.integers(len(stored))]
        array = stored[key] = malformed.ALTERED[kind](stored[key], rng)
        for tensor in tensors:
            if tensor.get("key") == key:
                tensor |= {"shape": list(array.shape), "dtype": array.dtype.name}
                tensor["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    return text_of(manifest), malformed.npz(stored)


def test_a_malformed_folder_of_cases_is_refused_or_judged(attempt, inputs, given, tmp_path):
    rng = np.random.default_rng(0)
    canary = str(tmp_path / "it-ran")

    def damaged(kind: str) -> Callable:
        def alter(manifest: dict, arrays: bytes) -> tuple[bytes, bytes]:
            text = text_of(manifest)
            if rng.integers(2):
                return malformed.DAMAGE[kind](text, rng), arrays
            return text, malformed.DAMAGE[kind](arrays, rng)

        return alter

    def other_json(manifest: dict, arrays: bytes) -> tuple[bytes, bytes]:
        if rng.integers(8):
            return text_of(malformed.junk_in(manifest, rng)), arrays
        return malformed.other_text(json.dumps(manifest), rng).encode(), arrays

    def pickled(manifest: dict, arrays: bytes) -> tuple[bytes, bytes]:
        stored = {"x": np.array([malformed.harmful(canary, rng)])}
        return text_of(manifest), malformed.npz(dict(np.load(io.BytesIO(arrays))) | stored)

    damage = {
        **{kind: damaged(kind) for kind in malformed.DAMAGE},
        **{
            kind: lambda manifest, arrays, alter=alter: (altered(manifest, alter, rng), arrays)
            for kind, alter in malformed.CASES.items()
        },
        **{
            kind: lambda manifest, arrays, kind=kind: with_other_array(manifest, arrays, kind, rng)
            for kind in malformed.ALTERED
        },
        "other JSON": other_json,
        "code in a pickle": pickled,
        "zip bombs": lambda manifest, arrays: (text_of(manifest), malformed.overlapping_bomb()),
    }
    for _ in inputs(0.05 / len(damage) / 2):
        for kind, alter in damage.items():
            manifest, arrays, results = given.whole[rng.integers(len(given.whole))]
            given.write(*alter(manifest, arrays), results)
            loaded = attempt("cases", kind, lambda: exchange.load(given.folder))
            judged = attempt("the command", f"cases: {kind}", given.check)
            assert loaded is not None or judged is None
            assert not Path(canary).exists(), kind


def test_malformed_results_are_refused_or_judged(attempt, inputs, given, tmp_path):
    rng = np.random.default_rng(0)
    canary = str(tmp_path / "it-ran")
    bomb = malformed.overlapping_bomb()

    def one(alter: Callable[[np.ndarray], Any]) -> Callable[[bytes], bytes]:
        def damage(results: bytes) -> bytes:
            arrays = dict(np.load(io.BytesIO(results)))
            key = list(arrays)[rng.integers(len(arrays))]
            return malformed.npz(arrays | {key: alter(arrays[key])})

        return damage

    def other_keys(results: bytes) -> bytes:
        arrays = dict(np.load(io.BytesIO(results)))
        key, *others = arrays
        odd = malformed.ODD_NAMES[rng.integers(len(malformed.ODD_NAMES))]
        odd = odd.encode("utf-8", "replace").decode().replace("\0", "")[:60_000]
        kept = {name: arrays[name] for name in others if rng.integers(2)}
        case, _, _ = key.partition("/")
        new = [key, odd, f"{odd}/y", f"{case}/{odd}", key[:-1], f"/{key}"]
        return malformed.npz({**kept, new[rng.integers(6)]: arrays[key]})

    damage = {
        **{
            kind: lambda results, alter=alter: alter(results, rng)
            for kind, alter in malformed.DAMAGE.items()
        },
        **{
            kind: one(lambda array, alter=alter: alter(array, rng))
            for kind, alter in malformed.ALTERED.items()
        },
        "missing and odd names": other_keys,
        "huge sizes": lambda results: malformed.huge_npz("linear/y", rng),
        "code in a pickle": one(lambda array: np.array([malformed.harmful(canary, rng)])),
        "zip bombs": lambda results: bomb,
    }
    for _ in inputs(0.03 / len(damage) / 2):
        for kind, alter in damage.items():
            which = rng.integers(len(given.whole))
            manifest, arrays, results = given.whole[which]
            given.write(text_of(manifest), arrays, alter(results))
            dtype = [[], [], ["--dtype", "float16"], ["--dtype", "bfloat16"]][rng.integers(4)]
            read = attempt("results", kind, lambda known=given.cases[which]: given.read(known))
            judged = attempt("the command", f"results: {kind}", lambda d=dtype: given.check(*d))
            assert read is not None or judged is None
            assert not Path(canary).exists(), kind
