"""The command `npkd validate`, as a user runs it, and the page that it makes."""

import json
import re
import sys
from dataclasses import replace

import commands
import numpy as np
import pytest
from pages import Page, verdicts_with

from npkd import cli
from npkd.validate import BUG, CONSISTENT, CONVENTION, UNPROVEN, Cause, Report, Verdict, by_npkd
from npkd.validate.bounds.rules import RULES
from npkd.validate.judging import page as pages
from npkd.validate.questions.exchange import load, write_results

NAMES = ["conv2d groups", "relu", "l2"]


def run(capsys, *arguments):
    return commands.run(capsys, "validate", *arguments)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "cases"
    assert cli.main(["validate", "export", str(folder), "--names", *NAMES]) == 0
    return folder


def by_wrong(case):
    """npkd's results, the kernels of convolutions flipped, and their gradients with them."""
    if "w" not in case.inputs:
        return by_npkd.results(case)
    w = case.inputs["w"][:, :, ::-1, ::-1]
    found = by_npkd.results(replace(case, inputs={**case.inputs, "w": w}))
    return found | {"dw": found["dw"][:, :, ::-1, ::-1]}


@pytest.fixture(scope="module")
def results(exported):
    """Files with results: right ones, wrong ones, and others."""
    cases, folder = load(exported), exported.parent
    right = {case.name: by_npkd.results(case) for case in cases}
    wrong = {case.name: by_wrong(case) for case in cases}
    some = {case.name: right[case.name] for case in cases if case.subject == "relu"}
    first = next(iter(some))
    lacking = some | {first: {"y": some[first]["y"]}}
    other = {"<another>": some[first]}
    files = {"right": right, "wrong": wrong, "some": some, "lacking": lacking, "other": other}
    for name, arrays in {**files, "empty": {}}.items():
        write_results(folder / f"{name}.npz", arrays)
    return folder


def test_export_writes_what_load_reads(exported):
    cases = load(exported)
    assert {case.subject for case in cases} == set(NAMES)
    assert all(case.needed for case in cases)


def test_export_says_how_much_it_wrote(capsys, tmp_path):
    status, out, err = run(capsys, "export", tmp_path, "--names", "relu", "--seed", 3)
    assert (status, err) == (0, "")
    assert re.search(rf"\d+ cases, which ask for \d+ tensors, are in {tmp_path}", out)


def test_right_results_pass_and_make_the_page(capsys, exported, results, tmp_path):
    out_folder = tmp_path / "new" / "verdicts"
    status, out, err = run(capsys, "check", exported, results / "right.npz", "--out", out_folder)
    assert (status, err) == (0, "")
    assert BUG not in out
    assert re.search(r"^(\d+) tensors: \1 CONSISTENT$", out, re.MULTILINE)
    judged = json.loads((out_folder / "verdicts.json").read_text())
    assert judged["ok"]
    assert {one["subject"] for one in judged["verdicts"]} == set(NAMES)
    assert str(out_folder / "verdicts.html") in out


def test_a_fault_gives_status_1_and_its_name(capsys, exported, results, tmp_path):
    arguments = ["check", exported, results / "wrong.npz", "--dtype", "float32"]
    status, out, _ = run(capsys, *arguments, "--out", tmp_path)
    assert status == 1
    cause = "kernel flipped: convolution for correlation"
    assert (
        f"conv2d groups, conv2d: cause: {cause}" in out or f"conv2d groups: cause: {cause}" in out
    )
    assert "first to diverge: conv2d groups" in out
    shown = read(tmp_path)
    assert cause in shown.text
    assert "Wrong: rounding in float32 does not explain" in shown.text


def test_cases_without_results_are_left_out_but_tensors_are_not(capsys, exported, results):
    status, out, _ = run(capsys, "check", exported, results / "some.npz")
    assert status == 0
    assert re.search(r"results for \d+ of the \d+ cases in", out)
    status, out, _ = run(capsys, "check", exported, results / "lacking.npz")
    assert status == 1
    assert re.search("^not given: relu.*/dx$", out, re.MULTILINE)


def test_what_a_framework_does_not_have_is_listed_and_not_missed(capsys, exported, results):
    with np.load(results / "lacking.npz") as stored:
        arrays = dict(stored)
    (lacks,) = {key for key in arrays if f"{key[:-1]}dx" not in arrays and key.endswith("/y")}
    left = json.dumps({f"{lacks[:-1]}dx": "gradients"}).encode()
    np.savez(results / "left.npz", **arrays, left=np.frombuffer(left, np.uint8))
    status, out, _ = run(capsys, "check", exported, results / "left.npz")
    assert status == 0
    assert "left out: gradients (1 tensor)" in out
    assert "not given" not in out
    np.savez(results / "left.npz", **arrays, left=np.arange(3, dtype=np.uint8))
    assert_one_line(run(capsys, "check", exported, results / "left.npz"), "what is left out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["required: ACTION"]),
        (["judge"], ["invalid choice: 'judge'"]),
        (["check", "{cases}"], ["npkd validate check:", "required: RESULTS"]),
        (["check", "{results}/nowhere", "{results}/right.npz"], ["nowhere", "manifest"]),
        (["check", "{cases}", "{results}/nothing.npz"], ["nothing.npz", "No such file"]),
        (["check", "{cases}", "{cases}/manifest.json"], ["manifest.json"]),
        (["check", "{cases}", "{results}/other.npz"], ["no case is named '<another>'"]),
        (["check", "{cases}", "{results}/empty.npz"], ["holds no results"]),
        (["check", "{cases}", "{results}/right.npz", "--dtype", "float8"], ["--dtype", "float8"]),
        (
            ["check", "{cases}", "{results}/some.npz", "--out", "{results}/some.npz/page"],
            ["cannot be written to"],
        ),
        (["export", "{cases}"], ["not an empty folder"]),
        (["export", "{results}/right.npz"], ["not an empty folder"]),
        (["export", "{results}/new", "--names", "conv3d"], ["--names: no subject", "conv2d"]),
        (["export", "{results}/new", "--names"], ["--names"]),
        (["export", "{results}/new", "--seed", "-1"], ["--seed is -1", "from 0"]),
        (["torch", "--device", "abacus"], ["--device", "abacus"]),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(capsys, exported, results, arguments, words):
    arguments = [text.format(cases=exported, results=results) for text in arguments]
    assert_one_line(run(capsys, *arguments), *words)
    assert not (results / "new").exists()


def assert_one_line(result, *words):
    status, _, err = result
    assert status == 2
    assert err.count("\n") == 1, err
    assert err.startswith("npkd validate")
    for word in words:
        assert word in err


def test_a_damaged_folder_is_one_line(capsys, exported, results, tmp_path):
    for name in ("manifest.json", "inputs.npz"):
        for other in ("manifest.json", "inputs.npz"):
            content = (exported / other).read_bytes()
            (tmp_path / other).write_bytes(content[: len(content) // (1 + (other == name))])
        assert_one_line(run(capsys, "check", tmp_path, results / "right.npz"), name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda case: case["operations"][0]["options"].update(groups=True), ["groups is True"]),
        (lambda case: case["operations"][0]["inputs"].pop("w"), ["conv2d lacks its input w"]),
        (lambda case: case["operations"][0].update(op="maximum"), ["unknown operation 'maximum'"]),
        (lambda case: case["operations"][0]["options"].update(padding=10**6), ["too much"]),
        (lambda case: case["tensors"]["y"]["shape"].reverse(), ["expected (", "y has the shape"]),
        (lambda case: case["tensors"]["y"].update(dtype="float64"), ["listed as float64"]),
    ],
)
def test_a_case_that_makes_no_sense_is_one_line(capsys, exported, results, tmp_path, change, words):
    """And status 2, as 1 would say that a bug has been found."""
    manifest = json.loads((exported / "manifest.json").read_text("utf-8"))
    case = next(case for case in manifest["cases"] if case["subject"] == "conv2d groups")
    change(case)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (tmp_path / "inputs.npz").write_bytes((exported / "inputs.npz").read_bytes())
    words = ["manifest.json", case["name"], *words]
    assert_one_line(run(capsys, "check", tmp_path, results / "right.npz"), *words)


def test_a_case_that_cannot_be_judged_is_one_line(capsys, exported, results, monkeypatch):
    def rule(*_):
        raise OverflowError("too large\nfor a float")

    monkeypatch.setitem(RULES, "relu", rule)
    words = ["relu rows: relu cannot be computed", "too large for a float"]
    assert_one_line(run(capsys, "check", exported, results / "right.npz"), *words)


@pytest.mark.parametrize(("action", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_a_framework_that_is_not_there_is_one_line(capsys, monkeypatch, action, name):
    monkeypatch.setitem(sys.modules, action, None)
    monkeypatch.delitem(sys.modules, f"npkd.validate.frameworks.{action}", raising=False)
    expected = f"{name} cannot be imported (pip install {action})"
    assert_one_line(run(capsys, action, "--names", "relu"), expected)


@pytest.mark.parametrize("action", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_framework_that_is_there_is_judged(capsys, action, dtype):
    framework = pytest.importorskip(action)
    status, out, err = run(capsys, action, "--names", "relu", "l2 sum", "--dtype", dtype)
    assert (status, err) == (0, "")
    title = out.splitlines()[0]
    assert framework.__version__ in title
    assert title.endswith(f", {dtype}")
    assert "l2" in out
    assert re.search(r"^(\d+) tensors: \1 CONSISTENT$", out, re.MULTILINE)


@pytest.mark.parametrize("error", [RuntimeError("no backend 'foo'"), AssertionError()])
def test_a_jax_without_a_device_is_one_line(capsys, monkeypatch, error):
    jax = pytest.importorskip("jax")

    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "foo")
    result = run(capsys, "jax", "--names", "l2")
    assert_one_line(result, "JAX finds no device (JAX_PLATFORMS is 'foo')")


def test_torch_is_asked_only_for_what_it_has(capsys):
    torch = pytest.importorskip("torch")
    for number in ("0", "1025", "2147483648"):
        assert_one_line(run(capsys, "torch", "--threads", number), f"--threads is {number}")
    if not torch.cuda.is_available():
        assert_one_line(run(capsys, "torch", "--device", "cuda"), "--device is cuda", "no GPU")


def test_what_a_framework_refuses_to_compute_is_told(capsys, monkeypatch):
    pytest.importorskip("torch")
    from npkd.validate.frameworks import answering

    def results(adapter, case):
        raise RuntimeError("not implemented\nfor 'Half'")

    monkeypatch.setattr(answering, "answers", results)
    status, out, err = run(capsys, "torch", "--names", "relu")
    assert (status, err) == (1, "")
    assert re.search("^not judged: relu.*: not implemented for 'Half'$", out, re.MULTILINE)
    assert re.search("^not given: relu.*/y$", out, re.MULTILINE)


@pytest.mark.parametrize("action", [None, "torch", "jax", "export", "check"])
def test_help_fits_on_the_first_screen(capsys, action, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = run(capsys, *[action] * (action is not None), "--help")
    assert status == 0
    assert out.count("\n") <= 30


# The page


def read(folder):
    text = (folder / "verdicts.html").read_text()
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    return Page(text)


def verdict(name=CONSISTENT, **others):
    """A verdict on a tensor of a conv1."""
    figures = {"error": 1e-7, "bound": 1e-6, "ratio": 0.1, "index": (0, 3), "bits": 24.2}
    return Verdict(
        **{
            "case": "a net",
            "subject": "nets",
            "operation": "conv1",
            "op": "conv2d",
            "result": "y",
            "tensor": "conv1",
            "exact": False,
            "verdict": name,
            "precision": "float32" if name == CONSISTENT else "",
            "found": 1.0,
            "expected": 1.0000001,
            "band": 0.2,
            **figures,
            **others,
        }
    )


OF_EACH_KIND = (
    verdict(),
    verdict(ratio=0.0, error=0.0, bits=np.inf, band=0.0, operation="relu1", op="relu"),
    verdict(ratio=200.0, bits=11.1, precision="TF32", operation="conv2", tensor="conv2"),
    verdict(CONVENTION, ratio=40.0, operation="relu2", op="relu", tensor="relu2"),
    verdict(UNPROVEN, ratio=3.0, operation="conv3", tensor="conv3", note="a transform?"),
    verdict(BUG, ratio=np.inf, error=0.25, bound=0.0, bits=-1.0, operation="fc1", tensor="fc1"),
    verdict(BUG, exact=True, case="exact", ratio=1e9, operation="fc1", tensor="fc1"),
)


def test_the_page_says_what_was_judged_and_what_was_found(tmp_path):
    pytest.importorskip("matplotlib")
    causes = (Cause("nets", "linear", ("factor T² missing",)),)
    about = {"title": "A framework 1.2 on a chip", "device": "a chip", "precision": "float32"}
    report = Report(OF_EACH_KIND, causes, ("a net/fc2",), ("a net: strange (gelu)",), about)
    pages.write(tmp_path, report)
    shown = read(tmp_path)
    assert shown.images == 1
    for words in (
        "Wrong: rounding in float32 does not explain 2 of 7 tensors",
        "1 more must be there and are not",
        "A framework 1.2 on a chip",
        "The first operation that diverges is a net: fc1 (conv2d).",
        "factor T² missing",
        "Not given: a net/fc2",
        "Not judged: a net: strange (gelu)",
        "a transform?",
        "How to read this",
        "Winograd",
    ):
        assert words in shown.text, words
    for one in OF_EACH_KIND:
        assert one.operation in shown.text


@pytest.mark.parametrize(
    ("names", "missing", "sentence"),
    [
        ([CONSISTENT, CONSISTENT], (), "Right: all 2 tensors are within what rounding can do."),
        (
            [CONSISTENT, UNPROVEN, CONVENTION],
            (),
            "No bug was found among 3 tensors: 1 CONSISTENT, 1 CONVENTION, 1 UNPROVEN.",
        ),
        ([BUG], (), "Wrong: rounding does not explain 1 of 1 tensors."),
        (
            [CONSISTENT],
            ("a/y",),
            "All 1 tensors are within what rounding can do; 1 more must be there and are not.",
        ),
        ([], (), "Nothing was judged."),
    ],
)
def test_the_page_begins_with_the_verdict(names, missing, sentence):
    assert pages.headline(Report(tuple(map(verdict, names)), missing=missing)) == sentence


def test_a_lower_precision_is_in_the_first_sentence():
    report = Report(
        (verdict(), verdict(ratio=9.0, precision="TF32")), about={"precision": "float32"}
    )
    assert pages.headline(report) == (
        "Right: all 2 tensors are within what rounding in float32 can do, some of them only at the "
        "precision of TF32."
    )


def test_names_cannot_alter_the_page(tmp_path):
    odd = "<script>alert(1)</script>\x1b[31m$\\frac{"
    pages.write(tmp_path, verdicts_with(odd))
    text = (tmp_path / "verdicts.html").read_text()
    assert "<script" not in text
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in read(tmp_path).text


def test_names_cannot_alter_the_text():
    """A line is a line, whatever names say, and a terminal obeys none."""
    odd = "conv\n1\x1b[31m\u202e\r\x07"
    of_each = {"operation": odd, "op": odd, "tensor": odd, "case": odd, "subject": odd}
    wrong = verdict(BUG, **of_each, note=odd, precision=odd, result=odd)
    about = {"title": f"{odd}\nset so"}
    report = Report((wrong,), (Cause(odd, odd, (odd,)),), (odd,), (odd,), about)
    plain = "conv 1\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"
    text = str(report)
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count(plain) >= 10
    assert f"not given: {plain}" in text.split("\n")
    assert f"not judged: {plain}" in text.split("\n")
    assert report.first.operation == plain


def test_without_matplotlib_the_page_has_no_pictures_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    why = pages.write(tmp_path, Report(OF_EACH_KIND))
    shown = read(tmp_path)
    assert shown.images == 0
    assert f"There are no pictures: {why}." in shown.text
    assert why == "pictures need matplotlib (pip install 'npkd[app]')"


def test_a_broken_matplotlib_does_not_lose_the_verdicts(
    capsys, exported, results, tmp_path, broken_matplotlib
):
    status, out, err = run(capsys, "check", exported, results / "right.npz", "--out", tmp_path)
    assert (status, err) == (0, "")
    made, note = out.splitlines()[-2:]
    why = "matplotlib cannot be used: MPLBACKEND is 'nonsense': "
    assert made == f"made {tmp_path / 'verdicts.html'} and verdicts.json"
    assert note.startswith(f"note: verdicts.html has no pictures: {why}")
    assert note.endswith("; the same command makes them")
    shown = read(tmp_path)
    assert shown.images == 0
    assert f"There are no pictures: {why}" in shown.text


def test_many_operations_are_shown_in_several_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    many = tuple(verdict(operation=f"conv{i}") for i in range(pages.ROWS + 1))
    pages.write(tmp_path, Report(many))
    assert read(tmp_path).images == 2
