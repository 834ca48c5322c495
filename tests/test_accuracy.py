"""How exact operators are: the grid, what is right, what is measured, files, tables, command."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pages
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from npkd.files import BadInput, OtherVersion
from npkd.validate.accuracy import asking, files, measuring, page, questions, right, table, ulps
from npkd.validate.accuracy.asking import Given
from npkd.validate.accuracy.grid import GOLDEN, grid, varying
from npkd.validate.frameworks.adapter import NotGiven
from npkd.validate.frameworks.answer import answer

COARSE = 8
LIMITS = np.finfo(np.float32)
TINY = float(LIMITS.smallest_normal)
SOME = ["exp", "tanh", "softmax", "kl", "linear"]


@functools.cache
def asked_of(op):
    return tuple(questions.questions([op], COARSE))


def rounded(case):
    """A framework that computes everything in float64, and rounds once."""
    (operation,) = case.operations
    question = next(one for one in asked_of(operation.op) if one.case.name == case.name)
    with np.errstate(over="ignore"):
        return Given({name: one.value.astype(np.float32) for name, one in question.right().items()})


def measured(op, change=lambda x, y: y, tensor="y"):
    """The row of the first question on an op, of right results that were changed."""

    def ask(case):
        found = rounded(case).arrays[tensor]
        return Given({tensor: change(case.inputs["x"], found).astype(np.float32)})

    asked = asked_of(op)[:1]
    (row,) = measuring.measure(asked, ask, {}).rows
    return row.measured


# The grid


@pytest.mark.parametrize("fine", [6, COARSE, 11])
def test_the_grid_holds_all_exponents_both_signs_and_what_is_special(fine):
    x = grid(fine)
    assert x.dtype == np.float32
    assert x.shape[1] == 1024
    every = set(x.ravel().view(np.uint32).tolist())
    for sign in (0, 1 << 31):
        for power in range(23):
            assert sign | 1 << power in every
        for exponent in range(256):
            assert sign | exponent << 23 in every  # 0, powers of two, ∞
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, LIMITS.max, LIMITS.min, TINY, 1e-45, -1e-45]
    assert set(np.array(special, np.float32).view(np.uint32).tolist()) <= every
    assert set(np.nextafter(np.float32(1), np.float32([0, 2])).view(np.uint32).tolist()) <= every


def test_the_grid_is_the_same_everywhere_and_densest_where_functions_vary():
    x = grid()
    assert 2_000_000 < x.size < 3_000_000
    assert np.array_equal(grid(9).view(np.uint32), grid(9).view(np.uint32))
    assert np.mean(varying(x)) > 0.5
    assert np.max(np.diff(x[(x >= 4) & (x < 8)])) < 2e-4
    assert np.all(np.bincount(x[::8].view(np.uint8)[:, ::4].ravel(), minlength=256) > 100)
    assert math.gcd(GOLDEN, 1 << 32) == 1


# What is right


@pytest.mark.parametrize("name", right.FUNCTIONS)
def test_functions_are_as_near_to_mpmath_as_they_say(name):
    mp = pytest.importorskip("mpmath")
    sigma = {
        "none": mp.ncdf,
        "tanh": lambda x: 1 / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3))),
    }
    by_many_digits = {
        "exp": mp.exp,
        "log": mp.log,
        "sqrt": mp.sqrt,
        "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
        "tanh": mp.tanh,
        "silu": lambda x: x / (1 + mp.exp(-x)),
        "gelu": lambda x: x * sigma["none"](x),
        "gelu tanh": lambda x: x * sigma["tanh"](x),
        "softplus": lambda x: mp.log1p(mp.exp(x)),
        "relu": lambda x: max(x, mp.mpf(0)),
        "relu6": lambda x: min(max(x, mp.mpf(0)), mp.mpf(6)),
    }
    x = grid(6).astype(np.float64)
    with np.errstate(all="ignore"):
        value = right.FUNCTIONS[name].right(x)
    normal = np.isfinite(value) & (np.abs(value) >= TINY) & (np.abs(value) < 1e38) & np.isfinite(x)
    size = np.abs(x[normal])
    hard = np.argsort(np.where((size > 1e-9) & (size < 200), -size, 0))[:150]
    every = np.append(hard, np.arange(0, size.size, 61))
    with mp.workdps(50):
        for one, found in zip(x[normal][every], value[normal][every], strict=True):
            expected = by_many_digits[name](mp.mpf(one))
            off = abs(found - expected) / mp.mpf(2) ** (math.frexp(found)[1] - 24)
            assert off <= right.OFF_OF_FUNCTIONS, one


def test_softmax_is_as_near_to_mpmath_as_it_says():
    mp = pytest.importorskip("mpmath")
    for question in questions.questions(["softmax", "log_softmax"]):
        z = question.case.inputs["x"][:2]
        if z.shape[1] > 1000:
            continue  # that takes too long
        value = question.right()["y"].value[:2]
        with mp.workdps(50):
            for row, found in zip(z, value, strict=True):
                e = [mp.exp(mp.mpf(float(x))) for x in row]
                total = mp.fsum(e)
                for k in {*range(0, len(row), 50), int(np.argmax(row))}:
                    p = e[k] / total
                    expected = p if question.op == "softmax" else mp.log(p)
                    if abs(expected) > TINY:
                        unit = mp.mpf(2) ** (mp.frexp(expected)[1] - 24)
                        assert abs(found[k] - expected) / unit <= right.OFF_OF_SOFTMAX


@pytest.mark.parametrize("name", questions.LOSSES)
def test_losses_are_as_near_to_mpmath_as_they_say(name):
    pytest.importorskip("mpmath")
    from benchmarks import digits

    for question in questions.questions([name]):
        (operation,) = question.case.operations
        some = {
            key: x[:2, :12] if x.ndim > 1 else x[:2] % 12 for key, x in question.case.inputs.items()
        }
        found = questions._by_loss(name, operation.options, some)
        s, t = (some.get(key, some.get("logits")) for key in ("student", "teacher"))
        value, gradient = digits.by_formula(name, s, t, some.get("labels"), 50, **operation.options)
        for expected, of in ((value, found["value"]), (gradient, found["gradient"])):
            exact = np.asarray(expected).ravel()
            own = of.unit == questions.OWN
            scale = np.abs(exact) if own else np.full(exact.size, max(map(abs, exact)))
            for one, other, size in zip(exact, of.value.ravel(), scale, strict=True):
                if size > 0:
                    assert abs(one - other) / (float(size) * 2.0**-24) <= right.OFF_OF_LOSSES


def test_sums_are_as_near_to_exact_ones_as_they_say():
    for question in questions.questions(["linear"]):
        one = question.right()["y"]
        x, w = (question.case.inputs[name].astype(np.float64) for name in "xw")
        unit = 2.0 ** (math.frexp(np.max(np.abs(one.value)))[1] - 24)
        for i, j in [(0, 0), (5, 40), (63, 63)]:
            exact = math.fsum(a * b for a, b in zip(x[i], w[j], strict=True))
            assert abs(one.value[i, j] - exact) / unit <= right.OFF_OF_SUMS


# What is measured


@pytest.mark.parametrize("op", questions.ops())
def test_results_that_are_rounded_once_are_off_by_half_an_ulp_and_nothing_else(op):
    found = measuring.measure(asked_of(op), rounded, {})
    assert found.rows
    assert not found.left
    for row in found.rows:
        assert row.measured.ulp <= 0.5 + 1e-7, row.name
        assert not row.measured.faults, row.name
        assert row.measured.typical <= 0.5


@given(seed=SEEDS, steps=st.integers(1, 1000))
def test_a_result_moved_by_steps_is_off_by_so_many_ulp(seed, steps):
    y = np.random.default_rng(seed).uniform(1.1, 1.8, 50).astype(np.float32)
    found = y.copy()
    found[7] += np.float32(steps * 2.0**-23)
    of = ulps.by_own(found, y.astype(np.float64))
    assert of.ulp == steps
    assert of.worst.x == "[7]"
    assert ulps.by_largest(found, y.astype(np.float64)).ulp == steps


def test_one_ulp_more_is_measured_and_named():
    def more(x, y):
        return np.where(x == 3, np.nextafter(y, np.float32(np.inf)), y)

    of = measured("tanh", more)
    assert 0.5 < of.ulp <= 1.5
    assert (of.worst.x, of.worst.hex) == ("3.0", "0x1.8000000000000p+1")
    assert float(of.worst.found) > float(of.worst.right)
    assert not of.faults


def test_0_too_early_is_named_from_where_on():
    of = measured("exp", lambda x, y: np.where(x < -70, 0, y))
    assert of.ulp <= 0.5 + 1e-7
    zero = of.faults["zero"]
    (place,) = zero.places
    assert -70.1 < float(place.x) < -70
    assert place.found == "0.0"
    assert {"zero", "subnormal results"} == set(of.faults)


def test_subnormal_results_that_are_0_are_counted_apart():
    of = measured("exp", lambda x, y: np.where(np.abs(y) < TINY, 0, y))
    assert set(of.faults) == {"subnormal results"}
    flushed = of.faults["subnormal results"]
    assert flushed.count == flushed.of > 0


def test_subnormal_arguments_taken_for_0_are_counted_apart():
    def as_zero(x, y):
        return np.where((np.abs(x) < TINY) & (x != 0), -np.inf, y)

    of = measured("log", as_zero)
    assert set(of.faults) == {"subnormal arguments"}
    assert of.ulp <= 0.5 + 1e-7
    assert of.faults["subnormal arguments"].count == of.faults["subnormal arguments"].of


def test_out_of_range_nan_and_wrong_special_values_are_named():
    above = np.float32(1 + 2.0**-23)
    of = measured("tanh", lambda x, y: np.where(x == 64, above, y))
    assert of.faults["range"].count == 1
    assert of.faults["range"].places[0].x == "64.0"
    of = measured("tanh", lambda x, y: np.where(x == 2, np.nan, y))
    assert of.faults["not finite"].places[0].x == "2.0"
    of = measured("tanh", lambda x, y: np.where(np.isinf(x), 0, y))
    assert [place.x for place in of.faults["special"].places] == ["inf", "-inf"]
    of = measured("relu", lambda x, y: np.where(np.isnan(x), 0, y))
    assert of.faults["special"].places[0].x == "nan"
    of = measured("exp", lambda x, y: np.where(x < -104, np.float32(1e-30), y))
    assert "not small" in of.faults
    of = measured("exp", lambda x, y: np.where(x > 89, np.float32(3e38), y))
    assert "special" in of.faults


def test_no_number_is_both_off_by_ulp_and_wrong_otherwise():
    of = measured("sigmoid", lambda x, y: np.full(x.shape, np.nan))
    assert of.ulp is None
    assert of.entries == 0
    assert "not finite" in of.faults


def test_lower_precisions_have_their_effective_bits():
    """As the judge counts them: bfloat16 has 8."""

    def coarse(x):
        return (x.view(np.uint32) + np.uint32(1 << 15) & np.uint32(0xFFFF0000)).view(np.float32)

    def ask(case):
        x, w = (coarse(case.inputs[name]).astype(np.float64) for name in "xw")
        return Given({"y": (x @ w.T).astype(np.float32)})

    for row in measuring.measure(questions.questions(["linear"]), ask, {}).rows:
        assert 7.8 < row.bits < 8.2


def test_what_is_not_given_has_its_reason():
    def ask(case):
        if case.name == "kl":
            return Given({}, ("gradients",))
        return Given({"value": np.zeros(3, np.float32), "gradient": np.zeros((256, 100), int)})

    found = measuring.measure(questions.questions(["kl"]), ask, {})
    assert not found.rows
    assert found.left["kl"] == found.left["kl, gradient"] == "gradients"
    assert "float32 (3,)" in found.left["kl, near"]
    assert "int64" in found.left["kl, near, gradient"]


def test_28_operators_are_asked_about_at_least():
    rows = questions.questions(fine=COARSE)
    assert (
        len({(one.op, str(one.case.operations[0].options.get("approximate"))) for one in rows})
        >= 28
    )
    assert [*dict.fromkeys(one.op for one in rows)] == questions.ops()
    assert len(set(questions.names_of(rows))) == len(questions.names_of(rows))


def test_questions_are_the_same_whichever_are_asked():
    (alone,) = questions.questions(["huber"])
    among = next(one for one in questions.questions(fine=COARSE) if one.op == "huber")
    assert np.array_equal(alone.case.inputs["student"], among.case.inputs["student"])


def test_logits_differ_exactly():
    for question in questions.questions(["softmax"]):
        z = question.case.inputs["x"]
        below = z - z.max(axis=1, keepdims=True)
        assert np.array_equal(
            below.astype(np.float64), z.astype(float) - z.max(axis=1, keepdims=True)
        )


# Frameworks


def test_npkd_is_measured():
    asked = asking.asked("npkd")
    found = measuring.measure(questions.questions(fine=COARSE), asked.ask, asked.about)
    assert not found.left
    by_name = {row.name: row.measured for row in found.rows}
    assert by_name["exp"].ulp < 4
    assert by_name["sigmoid"].ulp < 4
    assert by_name["kl, near"].ulp < 100
    assert not by_name["relu"].faults
    assert by_name["linear, k = 512"].ulp < 50
    assert set(found.about) == {"framework", "device", "flags", "platform"}


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_frameworks_are_measured(name):
    pytest.importorskip(name)
    asked = asking.asked(name)
    found = measuring.measure(questions.questions(SOME, COARSE), asked.ask, asked.about)
    assert not found.left
    for row in found.rows:
        if "near" not in row.name:
            # how far a sum of 100,000 numbers is off depends on how many a processor adds at once
            most = 1000 if row.name.startswith("softmax, 100,000") else 100
            assert row.measured.ulp < most, row.name


def test_what_an_adapter_lacks_or_raises_is_said():
    class Lacks:
        def settings(self):
            raise NotGiven("all of it")

    class Raises:
        def settings(self):
            raise RuntimeError("no device")

    case = questions.questions(["kl"])[0].case
    assert asking.of_adapter(Lacks(), case) == Given({}, ("all of it",))
    assert asking.of_adapter(Raises(), case).why == ("RuntimeError: no device",)


# Files


@pytest.fixture(scope="module")
def figures():
    """Those of npkd, on a coarse grid, of some operators; one is not given."""
    asked = asking.asked("npkd")
    found = measuring.measure(questions.questions([*SOME, "silu"], COARSE), asked.ask, asked.about)
    return measuring.Accuracy(found.about, found.rows, {"gelu": "not here"})


def test_figures_come_back_from_a_file(figures, tmp_path):
    path = files.write(tmp_path, figures)
    assert path.name == files.name_of(figures)
    assert path.name.startswith("npkd-")
    assert path.stat().st_size < 50_000
    assert files.read(path) == figures
    assert files.write(tmp_path / "mine.json", figures).name == "mine.json"


def damaged(held):
    """What a file holds, wrong in one way each, and what the message says."""
    row = held["rows"][0]
    fault = {"count": 1, "of": 2, "places": [row["worst"]]}
    yield {**held, "format": "another"}, "format"
    yield {**held, "rows": {}}, "rows"
    yield {**held, "about": {"framework": 3}}, "framework"
    yield {**held, "about": {}}, "framework"
    yield {**held, "about": {"framework": "x" * 2000}}, "letters"
    yield {**held, "about": {"framework": "x", "y" * 2000: ""}}, "letters"
    yield {**held, "rows": [row, row]}, "one name"
    yield {**held, "rows": [row] * 2000}, "1000"
    yield {**held, "rows": [3]}, "a row"
    yield {**held, "not_given": {row["name"]: "twice"}}, "one name"
    for change in (
        {"ulp": "1"},
        {"ulp": True},
        {"ulp": 10**400},
        {"ulp": -1e9},
        {"entries": 1.5},
        {"entries": -1},
        {"unit": "furlong"},
        {"worst": [1]},
        {"faults": {"unheard of": fault}},
        {"faults": {"zero": {**fault, "count": None}}},
        {"faults": {"zero": {**fault, "places": [{"x": 1}]}}},
        {"bits": []},
        {"name": None},
    ):
        yield {**held, "rows": [row | change]}, ""


def test_malformed_files_are_refused_in_one_line(figures, tmp_path):
    held = files.as_json(figures)
    path = tmp_path / "figures.json"
    for wrong, says in damaged(held):
        path.write_text(json.dumps(wrong))
        with pytest.raises(BadInput) as error:
            files.read(path)
        assert says in str(error.value)
        assert "\n" not in str(error.value)
    for text in ("", "[", "[" * 100_000, '{"format": 1, "format": 2}', '{"a": NaN}', "\x00", "3"):
        path.write_text(text)
        with pytest.raises(BadInput):
            files.read(path)
    path.write_text(json.dumps({**held, "version": 2}))
    with pytest.raises(OtherVersion):
        files.read(path)


def test_cases_are_answered_elsewhere(tmp_path):
    """By answer.py beside them, with an adapter; what it lacks is listed."""
    from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, made_of

    class NumPy(Adapter):
        name, infers = "numpy", True

        def __init__(self):
            self.words = NamespaceWords(np)
            self.operations = {**made_of(self.words)}

        def about(self):
            return {"framework": "NumPy 0", "device": "CPU", "flags": "none", "more": "?"}

        def given(self, array):
            return array

        def found(self, x):
            return np.asarray(x)

    asked = questions.questions(["exp", "softplus", "tanh", "kl"], COARSE)
    files.export(tmp_path / "cases", asked)
    with np.errstate(all="ignore"):
        answer(NumPy(), tmp_path / "cases", tmp_path / "results.npz")
    who = files.answers(tmp_path / "cases", tmp_path / "results.npz", asked)
    assert who.about == {"framework": "NumPy 0", "device": "CPU", "flags": "none"}
    found = measuring.measure(asked, who.ask, who.about)
    assert {row.name for row in found.rows} == {"exp", "softplus", "kl", "kl, near"}
    assert set(found.left) == {"tanh", "kl, gradient", "kl, near, gradient"}
    with pytest.raises(BadInput, match="export cases anew"):
        files.answers(tmp_path / "cases", tmp_path / "results.npz", questions.questions(["exp"], 9))
    with pytest.raises(BadInput, match="is missing"):
        files.answers(
            tmp_path / "cases", tmp_path / "results.npz", questions.questions(["log"], COARSE)
        )


# Tables


def test_the_table_of_one_has_a_row_for_each_result_and_says_what_is_wrong(figures):
    lines = table.of_one(figures)
    assert len(lines) == 2 + len(figures.rows) + 1
    assert lines[-1].startswith("gelu")
    assert "not here" in lines[-1]
    wrong = table.faults_of_one(figures)
    assert any(line.startswith("z  silu") and "from here on: -88.7" in line for line in wrong)


def test_frameworks_stand_side_by_side(figures):
    other = measuring.Accuracy(
        {**figures.about, "device": "another"}, figures.rows[1:], {"exp": "lacking"}
    )
    head, *rows = table.cells([figures, other])
    assert head[1:] == [
        f"{one.about['framework']}, {one.about['device']}" for one in (figures, other)
    ]
    assert [row[0] for row in rows] == [row.name for row in figures.rows]
    assert rows[0][2] == "–"
    assert rows[1][1] == rows[1][2]
    text = table.markdown([figures, other])
    assert text.count("\n| ") == len(rows) + 1 + len(table.thresholds([figures, other])) - 1
    assert "effective bits" in text
    assert "| silu | -88.8: -0.0, right is -2.5" in text


@pytest.mark.parametrize("text", [*pages.HOSTILE, "a|b", "`x`", "![x](y)", "[x]: y"])
def test_text_from_a_file_is_text(text, figures, tmp_path):
    place = ulps.Place(text, text, text, text)
    fault = {kind: ulps.Fault(1, 2, (place,)) for kind in ulps.KINDS}
    one = ulps.Measured(1, 1.0, 1.0, place, fault)
    row = measuring.Row(text, text, "own", 0.0, one)
    hostile = measuring.Accuracy(
        dict.fromkeys(("framework", "device", "flags", "platform"), text),
        (row,),
        {f"{text} ": text},
    )
    page.write(tmp_path, [hostile, figures])
    pages.read(tmp_path / "accuracy.html")
    lines = (tmp_path / "accuracy.md").read_text().splitlines()
    width = lines[0].count("|")
    for line in lines:
        assert line.count("|") in (0, width)
        assert "<" not in line
        for letter in "`[!":
            assert all(line[k - 1] == "\\" for k in range(len(line)) if line[k] == letter)


def test_frameworks_of_one_version_are_told_apart_by_device_then_by_flags(figures):
    def one(**about):
        return measuring.Accuracy({**figures.about, **about}, (), {})

    every = [one(), one(device="a"), one(device="a", flags="f"), one(framework="other")]
    names = table.titles(every)
    assert len(set(names)) == 4
    assert names[2].endswith(", a, f")
    assert names[3] == "other"


def test_the_table_in_the_readme_is_that_of_the_files():
    root = Path(__file__).parents[1]
    paths = sorted((root / "benchmarks" / "verdicts" / "accuracy").glob("*.json"))
    text = (root / "npkd" / "validate" / "accuracy" / "README.md").read_text(encoding="utf-8")
    made = text.split("<!-- table -->\n")[1].split("<!-- end -->")[0]
    assert made.strip() == table.markdown([files.read(path) for path in paths]).strip()


# The command


def test_the_command_measures_writes_and_makes_a_table(capsys, tmp_path):
    small = ("--names", "tanh", "linear", "--fine", COARSE)
    status, out, _ = run(capsys, "accuracy", "npkd", *small, "--out", tmp_path)
    (path,) = tmp_path.glob("npkd-*.json")
    assert status == 0
    assert "linear, k = 16,384" in out
    assert str(path) in out
    assert run(capsys, "accuracy", "npkd", "npkd", *small)[0] == 0
    status, out, _ = run(capsys, "accuracy", "table", path, path)
    assert status == 0
    assert out.startswith("|")
    status, *_ = run(capsys, "accuracy", "table", path, "--out", tmp_path / "table")
    assert status == 0
    assert pages.read(tmp_path / "table" / "accuracy.html").text
    assert (tmp_path / "table" / "accuracy.md").read_text().startswith("|")


def test_the_command_exports_and_checks(capsys, tmp_path):
    small = ("--names", "tanh", "--fine", COARSE)
    assert run(capsys, "accuracy", "export", tmp_path / "cases", *small)[0] == 0
    assert (tmp_path / "cases" / "answer.py").exists()
    x = questions.questions(["tanh"], COARSE)[0].case.inputs["x"]
    np.savez(tmp_path / "results.npz", **{"tanh/y": np.tanh(x)})
    where = (tmp_path / "cases", tmp_path / "results.npz")
    status, out, _ = run(capsys, "accuracy", "check", *where, *small)
    assert status == 0
    assert "results" in out
    assert run(capsys, "accuracy", "export", tmp_path / "cases", *small)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["unheard"], "unheard"),
        (["npkd", "unheard"], "unheard"),
        (["npkd", "--names", "unheard"], "unheard"),
        (["npkd", "--fine", "2"], "--fine"),
        (["npkd", "npkd", "--out", "one.json"], "--out one.json: expected a folder"),
        (["table", "unheard.json"], "unheard.json"),
        (["check", "unheard", "results.npz"], "unheard"),
        ([], "NAME"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(capsys, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "accuracy", *arguments)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1
