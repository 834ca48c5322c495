"""The harness that is exported beside cases: it stands alone, and says what an adapter needs."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npkd
from npkd import ops
from npkd.validate import by_npkd, frameworks
from npkd.validate.frameworks import answering
from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, made_of
from npkd.validate.geometry import geometry
from npkd.validate.judging.judge import judge
from npkd.validate.program import UPDATES, Case, Operation
from npkd.validate.questions import exchange
from npkd.validate.questions.described import as_called, behind_gradients, described
from npkd.validate.questions.subjects import cases

SUBJECTS = ["relu", "avg_pool2d", "conv2d oblong", "mix", "dkd", "standardize", "concat", "sgd"]


@pytest.fixture(scope="module")
def some():
    return list(cases(np.random.default_rng(0), SUBJECTS))


@pytest.fixture(scope="module")
def folder(some, tmp_path_factory):
    exchange.export(tmp_path_factory.mktemp("exported") / "cases", some)
    return tmp_path_factory.getbasetemp().glob("exported*/cases").__next__()


class NumPy(Adapter):
    """Forward, and the gradient of ReLU by its own backward pass."""

    name, infers = "numpy", True

    def __init__(self):
        self.words = NamespaceWords(np)
        self.operations = {**made_of(self.words), "relu": lambda x: np.maximum(x, 0)}
        self.operations["relu_backward"] = lambda x, dy: {"dx": np.where(x > 0, dy, 0)}

    def about(self):
        return {"framework": f"NumPy {np.__version__}", "device": "CPU", "flags": "none"}

    def given(self, array):
        return array

    def found(self, x):
        return np.asarray(x)


# What is exported


def test_the_readmes_program_answers_the_cases_without_npkd(folder, some, tmp_path):
    program = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    (tmp_path / "cases").symlink_to(folder)
    paths = f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.modules['npkd'] = None\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", paths + program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "gradients: it only infers" in done.stdout
    results = exchange.read_results(tmp_path / "results.npz", some)
    assert exchange.read_about(tmp_path / "results.npz")["framework"].startswith("NumPy ")
    forward = {case.name: set(case.tensors()) - behind_gradients(case) for case in some}
    for case in some:
        if case.subject in ("relu", "mix", "dkd", "standardize", "concat"):
            assert results[case.name].keys() == forward[case.name]
    needing = [replace(c, needed=c.needed - behind_gradients(c)) for c in some]
    pairs = [(case, results[case.name]) for case in needing if case.name in results]
    assert judge(pairs).check().verdicts


def test_what_is_exported_is_python_3_9_and_imports_numpy_alone(folder):
    files = [*folder.glob("*.py"), *folder.glob("formulas/*.py")]
    assert len(files) > 8
    own = {file.stem for file in files} | {"formulas", "__future__", "numpy"}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 9))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in own or top in sys.stdlib_module_names, f"{file.name}: {name}"


def test_the_manifest_is_as_the_schema_says(folder):
    jsonschema = pytest.importorskip("jsonschema")
    manifest, schema = (
        json.loads((folder / name).read_text()) for name in ("manifest.json", "schema.json")
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    manifest["cases"][0]["operations"][0].pop("gradients")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)


def test_every_operation_says_all_of_its_options(folder):
    for case in json.loads((folder / "manifest.json").read_text())["cases"]:
        for operation in case["operations"]:
            called = as_called(operation["op"], operation["options"])
            assert by_npkd.resolved(operation["op"], called) == operation["options"]
            if operation["op"] == "mix":
                assert operation["options"]["soft_options"]["reduction"] == "batchmean"
            has_windows = operation["op"].startswith(("conv2d", "avg_pool2d", "max_pool2d"))
            assert ("geometry" in operation) == has_windows


sizes = st.integers(1, 4)
pairs = st.tuples(sizes, sizes)


@given(
    image=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=pairs,
    stride=st.none() | pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=pairs,
    ceil_mode=st.booleans(),
)
def test_windows_lie_where_npkds_do(image, kernel, stride, padding, dilation, ceil_mode):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    x = np.zeros((1, 1, *image))
    try:
        y, _ = ops.max_pool2d(x, kernel, **options)
    except ValueError:
        return
    of = geometry(x.shape, kernel, **options)
    assert y.shape[2:] == of.output
    padded = np.pad(x, [(0, 0), (0, 0), *of.sides])
    for size, k, s, d, n in zip(
        padded.shape[2:], of.kernel, of.stride, of.dilation, of.output, strict=True
    ):
        assert size >= (n - 1) * s + d * (k - 1) + 1


@given(image=st.tuples(st.integers(4, 9), st.integers(4, 9)), kernel=pairs, dilation=pairs)
def test_padding_same_keeps_sizes_and_puts_the_odd_cell_at_the_end(image, kernel, dilation):
    of = geometry((1, 1, *image), kernel, stride=1, padding="same", dilation=dilation)
    assert of.output == image
    assert all(after - before in (0, 1) for before, after in of.sides)


# Operation by operation


def test_what_a_framework_lacks_is_left_out_and_all_else_is_given(some):
    for case in some:
        found, left = answering.answers(NumPy(), case)
        given = {tensor for tensor in case.tensors() if tensor in found}
        for operation, why in left:
            assert isinstance(why, NotGiven)
            assert not given.issuperset(operation.outputs.values())
        report = judge([(replace(case, needed=frozenset()), found)])
        assert all(one.verdict == "CONSISTENT" for one in report.verdicts)
        if case.subject == "relu":
            assert left == []


def test_what_a_framework_raises_costs_that_operation_alone(some):
    class Failing(NumPy):
        def loss(self, name, inputs, options):
            if name == "mix":
                raise RuntimeError("not today")
            return super().loss(name, inputs, options)

    by_subject = {case.subject: case for case in some}
    found, [(operation, why)] = answering.answers(Failing(), by_subject["mix"])
    assert (found, operation.op, str(why)) == ({}, "mix", "not today")
    assert answering.answers(Failing(), by_subject["dkd"])[0].keys() == {"value"}


def test_no_gradient_is_asked_where_an_output_has_another_shape_than_its_dy():
    class Whole(NumPy):
        """Its average pool knows no ceil_mode."""

        infers = False

        def __init__(self):
            super().__init__()
            self.operations["avg_pool2d"] = lambda x, **options: ops.avg_pool2d(
                x, **{**options, "ceil_mode": False}
            )[0]

        def vjp(self, function, arrays, dy):
            function(*arrays)
            return arrays

    x = np.ones((1, 1, 3, 3), np.float32)
    options = {"kernel_size": 2, "ceil_mode": True}
    inputs = {"x": "x", "dy": "dy"}
    step = Operation("it", "avg_pool2d_backward", inputs, {"dx": "dx"}, options)
    case = Case("a", "", "", {"x": x, "dy": np.ones((1, 1, 2, 2), np.float32)}, (step,))
    found, [(_, why)] = answering.answers(Whole(), case)
    assert found == {}
    assert str(why) == "y has shape (1, 1, 1, 1), and dy (1, 1, 2, 2)"


def test_words_are_those_of_the_namespace_unless_a_class_has_its_own():
    class Namespace:
        stop_gradient, exp = abs, max

    class Own(NamespaceWords):
        def exp(self, x):
            return x

    assert NamespaceWords(Namespace).stop_gradient is abs
    assert Own(Namespace).stop_gradient is abs
    assert Own(Namespace).exp(3) == 3
    assert NamespaceWords(np).stop_gradient(3) == 3


def test_a_gradient_that_fails_costs_itself_alone(some):
    class Linear(NumPy):
        """It has no gradient of w, and none where w's is asked for too."""

        infers = False

        def vjp(self, function, arrays, dy):
            (x,) = arrays
            if x.shape == (5, 7):
                raise RuntimeError("not today")
            return [np.full(x.shape, 2.0)]

    x, w, dy = (np.ones(shape, np.float32) for shape in ((3, 7), (5, 7), (3, 5)))
    names = {"x": "x", "w": "w", "dy": "dy"}
    step = Operation("it", "linear_backward", names, {"dw": "dw", "dx": "dx"}, {})
    case = Case("a", "linear", "", {"x": x, "w": w, "dy": dy}, (step,))
    found, [(_, why)] = answering.answers(Linear(), case)
    assert found.keys() == {"dx"}
    assert str(why) == "not today"


def test_an_updater_is_kept_for_its_parameter_and_takes_the_rate_of_each_step():
    class Stateful(NumPy):
        """As optimisers are that keep a velocity in a convention of their own: v ← μ v − lr g."""

        def updater(self, op, **memory):
            kept = {"v": 0.0, "before": None}

            def update(theta, g, *, lr, momentum, weight_decay, nesterov):
                scale = 1.0 if kept["before"] is None else lr / kept["before"]
                kept["v"] = momentum * scale * kept["v"] - lr * (g + weight_decay * theta)
                kept["before"] = lr
                return theta + kept["v"]

            return update

    for case in cases(np.random.default_rng(0), ["sgd"]):
        for adapter in (NumPy(), Stateful()):
            found, left = answering.answers(adapter, case)
            assert left == []
            assert found.keys() == case.needed
            judge([(case, found)]).check()


def test_velocities_of_earlier_steps_are_handed_to_the_updater():
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=3).astype(np.float32) for name in ("theta", "g", "v")}
    options = {"lr": 0.1, "momentum": 0.9}
    names = {"theta": "theta", "g": "g", "velocity": "v"}
    step = Operation("step", "sgd", names, {"theta": "new"}, options)
    case = Case("a", "sgd", "", inputs, (step,), needed=frozenset(["new"]))
    judge([(case, answering.answers(NumPy(), case)[0])]).check()


def test_tensors_behind_gradients_are_not_needed_of_an_engine_that_only_infers(some):
    for case in some:
        behind = behind_gradients(case)
        for operation in case.operations:
            one = described(operation)
            if one["pass"] != "forward":
                assert behind.issuperset(operation.outputs.values())
            assert one["pass"] == "update" if operation.op in UPDATES else True
        if case.subject in ("relu", "dkd"):
            assert behind == {t for t in case.tensors() if t not in ("y", "value")}


# Who has answered


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_results_say_who_has_answered(some, tmp_path, ending):
    path, about = tmp_path / f"results{ending}", {"framework": "Mine 3", "flags": "ünsafe \x1b[2J"}
    results = {some[0].name: by_npkd.results(some[0])}
    exchange.write_results(path, results, about)
    assert exchange.read_about(path) == about
    assert exchange.read_results(path, some).keys() == results.keys()
    exchange.write_results(path, results)
    assert exchange.read_about(path) == {}


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3),
        np.frombuffer(b"[]", np.uint8),
        np.frombuffer(b'{"a": 1}', np.uint8),
        np.frombuffer(b"\xff", np.uint8),
        np.frombuffer(b"[" * 10_000, np.uint8),
        np.zeros(20_000, np.uint8),
        np.zeros((2, 2), np.uint8),
    ],
)
def test_what_is_not_who_has_answered_is_refused(tmp_path, array):
    np.savez(tmp_path / "results.npz", about=array)
    with pytest.raises(npkd.files.BadInput, match="'about' is not who has answered"):
        exchange.read_about(tmp_path / "results.npz")


# The command


def test_the_list_names_every_framework_and_imports_none(monkeypatch, capsys):
    from npkd.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["validate", "--list"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(frameworks.FRAMEWORKS)
    for line in lines:
        found = frameworks.versions(line.split()[0])
        assert all(f"{name} {version}" in line for name, version in found.items())
        missing = frameworks.missing(line.split()[0])
        assert (f"not installed: {', '.join(missing)} (pip install " in line) == bool(missing)


@pytest.mark.parametrize("flag", [[], ["--forward"]])
@pytest.mark.parametrize("says_why", [False, True])
def test_an_engine_that_only_infers_ends_well_where_that_is_said(
    folder, tmp_path, capsys, flag, says_why
):
    from npkd.cli import main
    from npkd.validate.frameworks.answer import answer

    path = tmp_path / "r.npz"
    found = answer(NumPy(), folder, path, only=["concat", "dkd"])
    if not says_why:
        np.savez(path, **found)
    assert "tensors are in" in capsys.readouterr().out
    status = main(["validate", "check", str(folder), str(path), *flag])
    shown = capsys.readouterr().out
    assert (f"NumPy {np.__version__}, CPU, none" in shown) == says_why
    assert ("not given: " in shown, status) == ((False, 0) if flag or says_why else (True, 1))
    assert ("left out: gradients: it only infers" in shown) == (says_why and not flag)
    assert ("left out, as listed: 1" in shown.splitlines()[-1]) == (says_why and not flag)
