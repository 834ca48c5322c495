"""The cases of npkd.validate: what they cover, that exact ones are exact, and their way to disk."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

import npkd.proofs.cases
from npkd import losses, ops
from npkd.files import BadInput, Damaged, OtherVersion
from npkd.validate import by_npkd, judge
from npkd.validate.program import Case, Operation
from npkd.validate.questions import exchange
from npkd.validate.questions.at_random import EXACT, random_case
from npkd.validate.questions.exactness import require_exact, significant_bits, unit_of
from npkd.validate.questions.numbers import dyadic, masked, near_ties, saturated, subnormal
from npkd.validate.questions.sense import require_sense, what_is_wrong
from npkd.validate.questions.subjects import cases, subjects, with_kinds

LARGE = ("LargeCNN", "distillation")  # with 8 million weights
SMALL = [name for name in subjects() if name not in LARGE]


def made(seed: int, names: list[str] | None = None) -> list[Case]:
    return list(cases(np.random.default_rng(seed), names))


@pytest.fixture(scope="module")
def every() -> list[Case]:
    return made(0)


@pytest.fixture(scope="module")
def some() -> list[Case]:
    return made(0, SMALL)


def in_float64(case: Case) -> Case:
    inputs = {
        name: array.astype(np.float64) if array.dtype == np.float32 else array
        for name, array in case.inputs.items()
    }
    return replace(case, inputs=inputs)


# What there is


def test_every_op_and_every_loss_has_a_case_forward_and_backward(every):
    found = {operation.op for case in every for operation in case.operations}
    transforms = {*ops.__all__, "standardize"}
    named = transforms | {*losses.__all__} - {"conventions"}
    assert found == named | {f"{op}_backward" for op in transforms} | exchange.OTHERS.keys()
    assert found == exchange.vocabulary().keys()


def test_every_subject_has_an_ordinary_case_and_an_exact_one_if_that_can_be(every):
    by_subject = {name: [case for case in every if case.subject == name] for name in subjects()}
    assert sum(map(len, by_subject.values())) == len(every)
    for name, own in by_subject.items():
        assert len(own) >= 2, name
        assert any(not case.exact for case in own), name
        present = {operation.op for case in own for operation in case.operations}
        if present & {*EXACT, "sgd", "rows", "augment"} and name not in ("mix", "mix kl"):
            assert any(case.exact for case in own), name


def test_names_are_keys(every):
    assert len({case.name for case in every}) == len(every)
    assert not any("/" in case.name for case in every)


def test_programs_make_sense(every):
    for case in every:
        assert not list(what_is_wrong(case)), case.name
        assert case.needed <= set(case.tensors())
        assert case.needed


def test_ordinary_convolutions_are_short_sums(every):
    for case in every:
        if case.exact or case.subject in ("LargeCNN", "SmallCNN", "distillation"):
            continue
        most = 600 if case.subject == "conv2d wide" else 500
        found = by_npkd.results(case)
        for operation in case.operations:
            if operation.op in ("conv2d", "linear"):
                w = case.inputs[operation.inputs["w"]]
                y = found[operation.outputs["y"]]
                assert w[0].size + 1 <= most, case.name
                assert w.size // w.shape[1] <= most, case.name
                assert y.size // y.shape[1] <= most, case.name


def test_a_subject_asked_for_alone_has_the_same_numbers(every):
    (case,) = [case for case in every if case.name == "kl 8x11"]
    (alone,) = [case for case in made(0, ["kl"]) if case.name == "kl 8x11"]
    np.testing.assert_equal(dict(alone.inputs), dict(case.inputs))


def test_an_unknown_subject_is_refused_before_anything_is_made():
    with pytest.raises(BadInput, match="no subject is named 'conv2'; did you mean 'conv2d'"):
        cases(np.random.default_rng(0), ["conv2"])


def test_an_op_is_asked_for_with_all_its_kinds():
    of_conv = [one for one in subjects() if one.split()[0] == "conv2d"]
    assert len(of_conv) > 3
    assert with_kinds(["conv2d", "l2"]) == [*of_conv, "l2"]
    assert with_kinds(["upsample"]) == ["upsample nearest", "upsample bilinear"]
    assert with_kinds(["conv2d groups", "conv3d"]) == ["conv2d groups", "conv3d"]


def test_extreme_numbers_are_what_they_say():
    rng = np.random.default_rng(0)
    for count, classes in ((5, 7), (11, 3)):
        logits = saturated(rng, (count, classes), unit=2.0).astype(np.float64) / 2
        assert np.ptp(logits[2]) > 104, "exp in float32 is 0 beside the largest"
        assert logits.max() > 89, "exp in float32 overflows"
        assert np.ptp(logits[3]) == 0
        assert 0 < np.ptp(logits[4]) < 1e-3
        assert np.all(np.isneginf(masked(rng, (count, classes))[::2, -1]))
    tiny = np.abs(subnormal(rng, (40, 40)))
    smallest = np.finfo(np.float32).smallest_normal
    assert np.any(tiny == 0)
    assert np.any((tiny > 0) & (tiny < smallest))
    assert np.any(tiny > smallest)
    steps = (near_ties(rng, (40,)) - 1) / np.finfo(np.float32).eps
    assert set(steps) == {0, 1, 2, 3, 4}


def test_a_tensor_that_is_used_twice_has_the_sum_of_its_gradients():
    """A program that forgets the way past the second layer is found out."""
    for case in made(0, ["residual"]):
        found = by_npkd.results(case)
        judge([(case, found)]).check()
        short = {**case.inputs, "h.grad": found["h.grad by fc2"]}
        (last,) = [one for one in case.operations if one.name == "fc1 backward"]
        inputs = {name: short[tensor] for name, tensor in last.inputs.items()}
        gradients = by_npkd.computed(last.op, inputs, last.options)
        wrong = {tensor: gradients[name] for name, tensor in last.outputs.items()}
        report = judge([(case, found | wrong | {"h.grad": short["h.grad"]})])
        assert report.first.tensor == "h.grad"
        del found["h.grad"], found["h.grad by fc2"]  # and where nobody recorded it
        assert not judge([(case, found | wrong)]).ok


def test_npkd_itself_is_consistent(some):
    judge([(case, by_npkd.results(case)) for case in some]).check()


@pytest.mark.parametrize("op", [*npkd.proofs.cases.OPS, *npkd.proofs.cases.LOSSES])
def test_random_cases_can_be_computed(op):
    rng = np.random.default_rng(0)
    for exact, wide in itertools.product({False, op in EXACT}, (False, True)):
        for _ in range(5):
            case = random_case(op, rng, exact=exact, wide=wide)
            found = by_npkd.results(case)
            assert found.keys() == case.needed
            require_sense(case, {name: (x.dtype.name, x.shape) for name, x in found.items()})


def test_a_random_case_of_what_cannot_be_exact_is_refused():
    with pytest.raises(ValueError, match="no random case of 'kl'; expected one of conv2d"):
        random_case("kl", np.random.default_rng(0), exact=True)


# Exact ones


@pytest.mark.parametrize("seed", range(4))
def test_exact_cases_round_nothing(seed):
    for case in made(seed, None if seed == 0 else SMALL):
        if case.exact:
            require_exact(case)
            expected = by_npkd.results(in_float64(case))
            for tensor, found in by_npkd.results(case).items():
                assert found.dtype != np.float64
                np.testing.assert_array_equal(found, expected[tensor])


@pytest.mark.parametrize("op", EXACT)
def test_random_exact_cases_round_nothing(op):
    rng = np.random.default_rng(1)
    for _ in range(30):
        require_exact(random_case(op, rng, exact=True))


def of_linear(x, w) -> Case:
    operation = Operation("linear", "linear", {"x": "x", "w": "w"}, {"y": "y"})
    inputs = {name: np.asarray(array, np.float32) for name, array in (("x", x), ("w", w))}
    return Case("linear", "linear", "", inputs, (operation,), True)


def test_a_sum_of_2_to_the_24_units_is_exact_and_one_more_is_not():
    x, w = np.r_[np.full(64, 512.0), 1.0], np.r_[np.full(64, 512.0), 0.0]
    require_exact(of_linear([x], [w]))
    w[-1] = 1
    with pytest.raises(AssertionError, match="linear: y adds up to 16777217 units"):
        require_exact(of_linear([x], [w]))
    x[::2] *= -1  # no matter that terms cancel
    with pytest.raises(AssertionError, match="linear: y adds up to 16777217 units"):
        require_exact(of_linear([x], [w]))


def test_of_nesterovs_momentum_the_unit_is_smaller():
    """θ − g − μ v of multiples of ½ u, θ − g − μ (g + μ v) of ¼ u; the terms add up to 2 and 2½."""
    names = {name: name for name in ("theta", "g", "velocity")}
    outputs = {"theta": "new theta", "velocity": "new velocity"}
    for nesterov, unit in ((False, 2.0**-21), (True, 2.0**-20), (True, 2.0**-21)):
        options = {"lr": 1.0, "momentum": 0.5, "weight_decay": 0.0, "nesterov": nesterov}
        operation = Operation("sgd", "sgd", names, outputs, options)
        inputs = {
            name: np.array([value], np.float32)
            for name, value in zip(names, (1, 1, unit), strict=True)
        }
        case = Case("sgd", "sgd", "", inputs, (operation,), True)
        if not nesterov or unit > 2.0**-21:
            require_exact(case)
        else:
            with pytest.raises(AssertionError, match="sgd: theta adds up to 20971521 units"):
                require_exact(case)


def test_factors_have_at_most_11_bits():
    require_exact(of_linear([[2047.0, 3.0]], [[1.0, 1.0]]))
    with pytest.raises(AssertionError, match="linear: x has 12 significant bits"):
        require_exact(of_linear([[2049.0, 3.0]], [[1.0, 1.0]]))


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("avg_pool2d", "avg_pool2d 3x3 ceil_mode padding"),  # divides by 9
        ("upsample bilinear", "upsample bilinear 3"),  # weights of a third
        ("l2", "l2 5x7"),  # divides by 5
        ("softmax", "softmax rows"),
        ("sgd", "sgd linear"),
        ("nesterov", "nesterov linear"),
        ("accumulation", "accumulation 6 to 4"),
        ("huber", "huber 5x7"),
        ("limit", "limit 5x7"),
        ("hint", "hint 5x6"),
        ("fsp", "fsp 5x3x4x6"),
    ],
)
def test_what_rounds_is_not_exact_though_its_numbers_be_whole(subject, name):
    (case,) = [case for case in made(0, [subject]) if case.name == name]
    whole = {
        tensor: np.round(3 * x) if x.dtype == np.float32 else x for tensor, x in case.inputs.items()
    }
    if subject in (
        "sgd",
        "nesterov",
        "accumulation",
    ):  # whose constants are what rounds, or whose numbers
        whole = dict(case.inputs)
    with pytest.raises(AssertionError):
        require_exact(replace(case, inputs=whole))


@pytest.mark.parametrize(("rows", "columns", "nonzero"), [(4, 27, 3), (10, 128, 13), (64, 288, 3)])
def test_sparse_numbers_are_spread_evenly(rows, columns, nonzero):
    values = dyadic(np.random.default_rng(0), (rows, columns), nonzero=nonzero, largest=2)
    some = values != 0
    assert (some.sum(axis=1) == nonzero).mean() > 0.9  # where two passes meet, two may coincide
    assert some.sum(axis=1).max() == nonzero
    assert some.sum(axis=0).max() <= math.ceil(rows * nonzero / columns)
    assert set(np.unique(np.abs(values))) == {0, 1, 2}


def test_units_and_significant_bits():
    assert unit_of(np.array([0.0, 3.0, -0.75])) == 0.25
    assert unit_of(np.zeros(3)) == math.inf
    assert significant_bits(np.array([0.0, -0.75, 5.0, 2.0**100])) == 3
    assert significant_bits(np.zeros(2)) == 0


# To disk and back


def in_full(case):
    """Without arrays, and with all options."""
    operations = [replace(o, options=by_npkd.resolved(o.op, o.options)) for o in case.operations]
    return replace(case, inputs={}, operations=tuple(operations))


def test_cases_come_back_to_the_bit_and_make_the_same_bytes_twice(some, tmp_path):
    written = exchange.export(tmp_path / "first", some)
    for path in written:
        again = tmp_path / "second" / path.name
        if not again.exists():
            exchange.export(tmp_path / "second", some)
        assert path.read_bytes() == again.read_bytes()
    for case, back in itertools.zip_longest(some, exchange.load(tmp_path / "first")):
        assert in_full(back) == in_full(case)
        assert back.inputs.keys() == case.inputs.keys()
        for name, array in case.inputs.items():
            found = back.inputs[name]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()


def test_arrays_are_stored_once_and_in_both_formats(tmp_path):
    one, other = made(0, ["relu"])[:2]
    other = replace(other, inputs={**other.inputs, "dy": one.inputs["dy"].copy()})
    exchange.export(tmp_path, [one, other])
    with np.load(tmp_path / exchange.INPUTS) as stored:
        arrays = dict(stored)
    assert list(arrays) == ["relu rows/x", "relu rows/dy", "relu rows exact/x"]
    found, back = exchange.load(tmp_path)
    assert back.inputs["dy"] is found.inputs["dy"]
    safetensors = pytest.importorskip("safetensors.numpy")
    np.testing.assert_equal(safetensors.load_file(tmp_path / exchange.SAFE), arrays)


def test_the_documents_nets_are_the_same_ones_alone_and_in_distillation(every):
    inputs = {case.name: case.inputs for case in every}
    distillation = inputs["distillation of the document"]
    assert distillation["teacher/fc1.weight"] is inputs["LargeCNN"]["fc1.weight"]
    assert distillation["fc1.weight"] is inputs["SmallCNN"]["fc1.weight"]


@pytest.fixture
def folder(tmp_path):
    exchange.export(tmp_path, made(0, ["linear", "l2", "workers"]))
    return tmp_path


def altered(folder, change) -> None:
    """Write the manifest anew, after a change."""
    path = folder / exchange.MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


def restored(folder, change) -> None:
    """Write the arrays anew, after a change."""
    with np.load(folder / exchange.INPUTS) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(folder / exchange.INPUTS, **arrays)


def first(manifest):
    return manifest["cases"][0]


def turn_a_bit(arrays) -> None:
    arrays["linear plain/x"].view(np.uint32)[2, 3] ^= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (turn_a_bit, "'linear plain/x' has been altered: another SHA-256"),
        (lambda a: a.pop("linear plain/x"), "lacks 'linear plain/x', the array of"),
        (
            lambda a: a.update({"linear plain/x": a["linear plain/x"].astype(np.float64)}),
            r"is float64 \(5, 11\), expected float32 \(5, 11\)",
        ),
        (
            lambda a: a.update({"linear plain/x": a["linear plain/x"].T}),
            r"is float32 \(11, 5\), expected float32 \(5, 11\)",
        ),
    ],
)
def test_arrays_that_are_not_those_written_are_noticed(folder, change, message):
    restored(folder, change)
    with pytest.raises(BadInput, match=message):
        exchange.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=2), "has version 2 of the format, expected 1"),
        (lambda m: m.update(format="something"), "not a manifest of npkd's cases"),
        (lambda m: m.update(version="1"), "lacks a version, or has no cases"),
        (lambda m: m.pop("cases"), "lacks a version, or has no cases"),
        (lambda m: m.update(cases=3), "lacks a version, or has no cases"),
        (lambda m: m.update(cases=[]), "lacks a version, or has no cases"),
        (lambda m: m.update(cases=[7]), "case 1: its name is missing, expected a text"),
        (lambda m: first(m).update(name=7), "case 1: its name is 7, expected a text"),
        (lambda m: first(m).update(name="a" * 201), "has 201 letters, expected 1 to 200"),
        (lambda m: first(m).update(name="a/b"), "a/b: this cannot name a case"),
        (lambda m: first(m).update(exact=1), "linear plain: its exact is 1, expected true or"),
        (lambda m: first(m).update(operations={}), "its operations is {}, expected a list"),
        (lambda m: first(m)["tensors"]["y"].update(needed=0), "y's needed is 0, expected true"),
        (lambda m: first(m)["tensors"]["y"].update(role="output"), "y's role is 'output'"),
        (lambda m: first(m)["tensors"]["y"].update(dtype="float8"), "y's dtype is 'float8'"),
        (lambda m: first(m)["tensors"]["y"].update(shape=[5, -7]), r"y's shape is \[5, -7\]"),
        (lambda m: first(m)["tensors"]["y"].update(shape=[True]), r"y's shape is \[True\]"),
        (lambda m: first(m)["tensors"].update(x=[]), r"its tensor x is \[\], expected an object"),
        (lambda m: first(m).update(name="linear plain exact"), "two cases have the same name"),
        (
            lambda m: first(m)["operations"][0].update(op="linaer"),
            "unknown operation 'linaer'; did you mean 'linear'",
        ),
        (
            lambda m: first(m)["operations"].reverse() or first(m)["tensors"].pop("y"),
            "do not make the tensors that it lists",
        ),
        (
            lambda m: first(m)["operations"][0]["inputs"].update(x="dw"),
            "linear uses 'dw', which nothing has made before",
        ),
        (
            lambda m: first(m)["operations"][0]["outputs"].update(y="x"),
            "linear makes 'x', which is there already",
        ),
        (lambda m: first(m)["tensors"]["x"].update(sha256="0" * 64), "another SHA-256"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_one_line(folder, change, message):
    altered(folder, change)
    with pytest.raises(BadInput, match=message) as error:
        exchange.load(folder)
    assert "\n" not in str(error.value)


def test_what_is_damaged_or_of_another_version_is_told_apart(folder):
    restored(folder, turn_a_bit)
    with pytest.raises(Damaged):
        exchange.load(folder)
    altered(folder, lambda manifest: manifest.update(version=2))
    with pytest.raises(OtherVersion):
        exchange.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"exact"', '"name": "a", "exact"', 1), "two values of one name"),
        (lambda text: text.replace('"exact": false', '"exact": NaN', 1), "NaN is no number"),
        (lambda text: "[" * 100_000, "not JSON: maximum recursion depth"),
        (
            lambda text: text.replace('"version": 1', '"version": ' + 5000 * "1"),
            "not JSON: Exceeds",
        ),
    ],
)
def test_a_text_that_is_not_json_is_one_line(folder, change, message):
    path = folder / exchange.MANIFEST
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    with pytest.raises(BadInput, match=message):
        exchange.load(folder)


def test_many_operations_of_a_subject_are_refused(folder):
    def repeat(manifest):
        case = first(manifest)
        for number in range(1100):
            tensor = f"copy {number}"
            case["tensors"][tensor] = case["tensors"]["y"]
            operation = {"inputs": {"x": "y"}, "outputs": {"y": tensor}, "options": {}}
            case["operations"].append({"name": tensor, "op": "copy", **operation})

    altered(folder, repeat)
    with pytest.raises(BadInput, match="there is too much to compute"):
        exchange.load(folder)


@pytest.mark.parametrize("name", [exchange.MANIFEST, exchange.INPUTS])
def test_a_missing_file_and_a_broken_one_are_one_line(folder, name):
    (folder / name).write_bytes(b"{" * 100)
    with pytest.raises(BadInput, match=name):
        exchange.load(folder)
    (folder / name).unlink()
    with pytest.raises(BadInput, match=f"{name}: No such file"):
        exchange.load(folder)


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "cases").write_text("")
    with pytest.raises(BadInput, match="cannot be written to"):
        exchange.export(tmp_path / "cases", made(0, ["relu"]))


def test_cases_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'relu rows' cannot name a case"):
        exchange.export(tmp_path, 2 * made(0, ["relu"]))


# Results


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_results_come_back_to_the_bit(ending, tmp_path):
    known = made(0, ["l2", "sgd", "augmentation"])
    results = {case.name: by_npkd.results(case) for case in known}
    path = tmp_path / f"results.{ending}"
    exchange.write_results(path, results)
    found = exchange.read_results(path, known)
    assert found.keys() == results.keys()
    for name, tensors in results.items():
        assert found[name].keys() == tensors.keys()
        for tensor, array in tensors.items():
            assert found[name][tensor].shape == np.shape(array)  # a loss has none
            np.testing.assert_array_equal(found[name][tensor], array)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("l2 5x8/value", np.zeros(()), "no case is named 'l2 5x8'; did you mean 'l2 5x7'"),
        ("l2 5x7/vlaue", np.zeros(()), "'l2 5x7' has no result 'vlaue'; did you mean 'value'"),
        ("l2 5x7/student", np.zeros((5, 7)), "'l2 5x7' has no result 'student'"),
        ("value", np.zeros(()), "'value' is no key of the form CASE/TENSOR"),
        ("l2 5x7/value", np.array("nought"), "is of <U6, expected numbers"),
        ("l2 5x7/value", np.array(1j), "is of complex128, expected numbers"),
        ("l2 5x7/value", np.array([None]), "holds Python objects"),
    ],
)
def test_results_of_what_there_is_not_are_one_line(key, value, message, tmp_path):
    path = tmp_path / "results.npz"
    np.savez(path, **{key: value})
    with pytest.raises(BadInput, match=message):
        exchange.read_results(path, made(0, ["l2"]))


def test_shapes_are_left_to_the_judge(tmp_path):
    path = tmp_path / "results.npz"
    np.savez(path, **{"l2 5x7/value": np.zeros(3)})
    assert exchange.read_results(path, made(0, ["l2"]))["l2 5x7"]["value"].shape == (3,)
