"""Malformed studies, and cells of studies that somebody made up: refused in one line, or sound."""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pytest
import studies
import tiny
from malformed import content, signed

from npkd import distill
from npkd.distill import checkpoint
from npkd.study import command, plan, results, running, tables
from npkd.study.cells import Job, Source, figures_of, train


@pytest.fixture(autouse=True)
def _small_nets():
    with studies.small_nets():
        yield


# What describes a study


def quoted(text: str) -> str:
    """A text as TOML has it, which has no half of a pair of code units."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in whole) + '"'


VALUES = [
    *("true", "-1", "0", "1", "2.0", "0.5", "-0.0", "1e-320", "1e308", "1e999", "nan", "-inf"),
    *("9" * 4000, "0x" + "f" * 5000, "-" + "9" * 30, "1979-05-27", "07:32:00", "1979-05-27T07:32Z"),
    *("[]", "{}", "[[]]", "[1, [2]]", "[1, 'a']", "{a = 1}", "[{a = 1}]", "[" * 500 + "]" * 500),
    *("''", "'low'", "'high'", "'constant'", "'kl temperature=2'", "'l2 + l1'", "'vid student=x'"),
    *("['low', 'high']", "[1, 2, 3]", "[0.25, 0.75]", "1_000", "1__0", "0b101", "0o17", "+5"),
    *(quoted(text) for text in malformed.TEXTS if len(text) < 1000),
]
STRUCTURES = [
    "",
    "seeds = [1]",
    "setting = {}",
    "[setting]",
    "[[setting.x]]",
    "[[all]]\n[[setting]]",
    "all = [1]\n[[setting]]",
    "[all.all]\n[[setting]]",
    "[[setting]]\n" * 1001,
    "[all]\n" + "\n".join(f"a{k} = 1" for k in range(9000)) + "\n[[setting]]" * 9000,
    "[[setting]]\n" + ".".join("a" * 1000) + " = 1",
    ".".join("a" * 9000) + " = 1",
    "[" + ".".join("a" * 900) + "]\nb = 1",
    "[[setting]]\nname = " + "[" * 90_000,
    "x = " + "{a = " * 9000,
    "[[setting]]\nloss = '" + "l2 + " * 9000 + "l2'",
    "[[setting]]\nloss = 'kl" + " temperature=1" * 9000 + "'",
    "[[setting]]\nlabel_weight = 0.5\nloss = 'hint student=" + "relu2," * 9000 + "'",
    "[[setting]]\nepochs = [" + ", ".join(map(str, range(1, 1002))) + "]",
    "[[setting]]\nepochs = [1, 1]",
    "seeds = [" + "1, " * 9000 + "]\n[[setting]]",
    "seeds = [0, 9223372036854775808]\n[[setting]]",
    "task = 'super-resolve'\n[[setting]]\nloss = 'kl'",
    "[[setting]]\n#" + "\0",
    "\ufeff[[setting]]",
    "[[setting]]\r\nname = 'a\rb'",
]


def structure(rng: np.random.Generator) -> bytes:
    return STRUCTURES[rng.integers(len(STRUCTURES))].encode()


def junk_values(rng: np.random.Generator) -> bytes:
    """Settings, their like, and what is not one, of any value."""
    names = [*(one.name for one in fields(distill.Config)), "name", "colour"]
    lines = [
        f"{names[rng.integers(len(names))]} = {VALUES[rng.integers(len(VALUES))]}"
        for _ in range(rng.integers(1, 3))
    ]
    tops = ["", f"seeds = {VALUES[rng.integers(len(VALUES))]}\n", "task = 'super-resolve'\n"]
    head = ["[[setting]]", "[all]", "[[setting]]"][rng.integers(3)]
    end = "\n[[setting]]\nname = 'b'\n" if rng.integers(2) else "\n"
    return (tops[rng.integers(3)] + "\n".join([head, *lines]) + end).encode()


def hostile_names(rng: np.random.Generator) -> bytes:
    names = [*malformed.NAMES, *malformed.TEXTS, "a\0b", "\u2066a\u2069", "$x^$", "{name}", "\n\n"]
    chosen = [quoted(names[rng.integers(len(names))]) for _ in range(3)]
    tables = [f"[[setting]]\nname = {name}\nepochs = [1, 2]\n" for name in chosen]
    if not rng.integers(4):
        tables.append(f"[[setting]]\n{chosen[0]} = {chosen[1]}\n")
    return "".join(tables).encode()


STUDIES = {
    **{
        kind: lambda rng, alter=alter: alter(studies.TEXT.encode(), rng)
        for kind, alter in malformed.DAMAGE.items()
    },
    "junk values": junk_values,
    "hostile names": hostile_names,
    "structure": structure,
}


def assert_sound(found: plan.Study) -> None:
    """It has cells, and whatever its settings are called, its table has a line for each."""
    some = replace(found, settings=found.settings[:9], seeds=found.seeds[:2])
    cells = plan.cells(some)
    assert len({cell.key for cell in cells}) == len(cells) >= len(some.seeds)
    *others, failed = cells
    done = {
        cell.key: studies.as_done(dict.fromkeys(figures_of(cell), 0.5), cell) for cell in others
    }
    reason = {failed.key: "the loss became nan"}
    source = Source("corners.npz", "0" * 64)
    report = results.report(some, source, tiny.dataset(), done, reason)
    names = [one["name"] for one in json.loads(json.dumps(report, allow_nan=False))["settings"]]
    assert names == [one.name for one in some.settings]
    table = tables.table(report).splitlines()
    assert len(table) == 4 + len(some.settings)
    more = tables.table_of_others(report).splitlines()
    for line in (*table[1:], *tables.conclusion(report), *more):
        assert line.isprintable()
        assert len(line) < 200


def test_a_malformed_study_is_refused_or_sound(attempt, inputs, tmp_path):
    rng = np.random.default_rng(0)
    dataset, path = tiny.dataset(), tmp_path / "study.toml"

    def read() -> plan.Study:
        return plan.read(command._text(Namespace(file=str(path)), dataset), dataset)

    for _ in inputs(0.03 / len(STUDIES)):
        for kind, make in STUDIES.items():
            path.write_bytes(make(rng))
            found = attempt("studies", kind, read)
            if found is not None:
                assert_sound(found)


# What is kept of a study


@pytest.fixture
def source(tmp_path):
    return Source.of(tiny.file(tmp_path))


def test_a_malformed_cell_is_refused_or_sound(attempt, inputs, source, tmp_path):
    """And never touched."""
    rng = np.random.default_rng(0)
    canary = str(tmp_path / "it-ran")
    study = plan.read(studies.TEXT, tiny.dataset())
    large, labels, small, *_ = plan.cells(study)
    kept = running.Cells(tmp_path, source)
    teacher = train(Job(large, source, 1, pupils=plan.pupils(study, large)))
    kept.save(large, teacher)
    kept.save(labels, train(Job(labels, source, 1)))
    kept.save(small, train(Job(small, source, 1, teacher.teacher)))
    whole = {cell.key: checkpoint.load(kept.path(cell)) for cell in (large, labels, small)}

    def damaged(alter: malformed.Bytes) -> Callable[[Any, np.random.Generator], bytes]:
        return lambda cell, rng: alter(signed(content(*whole[cell.key])), rng)

    def signed_damage(cell: plan.Cell, rng: np.random.Generator) -> bytes:
        return signed(
            list(malformed.DAMAGE.values())[rng.integers(4)](content(*whole[cell.key]), rng)
        )

    def altered(kind: str) -> Callable[[Any, np.random.Generator], bytes]:
        def alter(cell: plan.Cell, rng: np.random.Generator) -> bytes:
            about, arrays = whole[large.key]
            name = list(arrays)[rng.integers(len(arrays))]
            return signed(
                content(about, arrays | {name: malformed.ALTERED[kind](arrays[name], rng)})
            )

        return alter

    def other_json(cell: plan.Cell, rng: np.random.Generator) -> bytes:
        about, arrays = whole[cell.key]
        texts = [b"", b"[" * 100_000, b"null", b"\xff", b"{" * 9, b"9" * 5000, b"{}", b"[]"]
        if not rng.integers(8):
            return signed(content(texts[rng.integers(8)], arrays))
        other = malformed.junk_in(about, rng)
        return signed(content(other if isinstance(other, dict) else about, arrays))

    damage: dict[str, Callable[[Any, np.random.Generator], bytes]] = {
        **{kind: damaged(alter) for kind, alter in malformed.DAMAGE.items()},
        "damaged, then signed": signed_damage,
        **{kind: altered(kind) for kind in malformed.ALTERED},
        "other JSON": other_json,
        "of another cell": lambda cell, rng: signed(content(*whole[small.key])),
        "huge sizes": lambda cell, rng: signed(malformed.huge_npz("about", rng)),
        "code in a pickle": lambda cell, rng: signed(malformed.other_pickle(canary, rng)),
        "zip bombs": lambda cell, rng: signed(malformed.overlapping_bomb()),
    }
    for _ in inputs(0.03 / len(damage)):
        for kind, alter in damage.items():
            cell = (large, labels)[rng.integers(2)] if "wrong" not in kind else large
            data = alter(cell, rng)
            kept.path(cell).write_bytes(data)
            found = attempt("cells", kind, lambda cell=cell: kept.load(cell))
            assert kept.path(cell).read_bytes() == data
            assert not Path(canary).exists(), kind
            if found is None:
                continue
            assert kind not in malformed.DAMAGE or data == signed(content(*whole[cell.key]))
            assert list(found.figures) == list(figures_of(cell))
            assert np.isfinite([*found.figures.values(), found.seconds]).all()
            done = running.Done(cell, found.figures, found.by_image, found.seconds, 1)
            json.dumps(results.report(study, source, tiny.dataset(), {cell.key: done}, {}))
            if cell is large:
                figures = train(Job(small, source, 1, found.teacher)).figures
                assert np.isfinite(list(figures.values())).all()
