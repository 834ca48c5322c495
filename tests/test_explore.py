"""The page to touch: its ops and losses are npkd's, and what a person does on it is answered."""

import json
import re

import browser
import numpy as np
import pages
import pytest
import tiny

from npkd import cli, explore, losses, ops, weights, zoo
from npkd.distill.report import contents as of_report
from npkd.explore import contents
from npkd.explore import page as page_of
from npkd.explore.page import FOLDER
from npkd.losses.facts import FACTS
from npkd.printing.pages import values

browser.required()

MATHEMATICS = "".join((FOLDER / name).read_text("utf-8") for name in ("ops.js", "losses.js"))
TO_ARRAYS = """
const given = JSON.parse(document.getElementById("given").textContent);
const read = ({ shape, data }) => array(shape, Float64Array.from(data));
const plain = (x) => x && { shape: x.shape, data: Array.from(x.data) };
"""


def as_given(x):
    return {"shape": list(x.shape), "data": x.ravel().tolist()}


def computed(folder, given, script):
    """What the page's own functions make of these arrays."""
    page = f"<meta charset=utf-8>{values('given', given)}<script>{MATHEMATICS}{TO_ARRAYS}"
    return browser.found(folder, f"found(frames[0].eval({json.dumps(script)}))", f"{page}</script>")


def assert_close(found, known):
    found, known = np.ravel(found), np.ravel(known)
    assert found.shape == known.shape
    np.testing.assert_allclose(found, known, rtol=0, atol=1e-13 * max(1e-300, abs(known).max()))


# The ops


def cases(rng):
    """Each op on some random arrays: its name, inputs, options there, and npkd's own call."""
    for stride, padding, groups, kernel in [
        *[((1, 1), (1, 1), 1, (3, 3)), ((2, 2), (1, 1), 1, (3, 3)), ((2, 1), (0, 2), 2, (2, 3))],
        *[((1, 1), (0, 0), 1, (1, 1)), ((1, 2), (1, 0), 4, (3, 3)), ((3, 3), (2, 2), 1, (5, 4))],
    ]:
        x, w = rng.normal(size=(4, 9, 8)), rng.normal(size=(8, 4 // groups, *kernel))
        b = rng.normal(size=8) if groups < 4 else None
        options = {"stride": stride, "padding": padding, "groups": groups}
        yield "conv2d", [x, w, b], options, ops.conv2d(x[None], w, b, **options)
    x, w, b = rng.normal(size=7), rng.normal(size=(5, 7)), rng.normal(size=5)
    yield "linear", [x, w, b], {}, ops.linear(x[None], w, b)
    x = 5 * rng.normal(size=(3, 6, 6))
    x[0, 0, :2] = 0, 6
    for name in ("relu", "relu6", "global_avg_pool2d", "flatten"):
        yield name, [x], {}, getattr(ops, name)(x[None])
    for name in ("avg_pool2d", "max_pool2d"):
        for kernel in [(2, 2), (3, 2)]:
            options = {"kernel": kernel, "stride": kernel}
            yield name, [np.round(x)], options, getattr(ops, name)(np.round(x)[None], kernel)
    yield "add", [x, -(x**2)], {}, ops.add(x[None], -(x[None] ** 2))
    arrays = [rng.normal(size=3), rng.normal(size=3), rng.normal(size=3), rng.uniform(0.1, 2, 3)]
    yield (
        "batch_norm",
        [x, *arrays],
        {"epsilon": 0.01},
        ops.batch_norm(x[None], *arrays, epsilon=0.01),
    )


def test_its_ops_are_npkds(tmp_path):
    given, known = [], []
    rng = np.random.default_rng(0)
    for name, arrays, options, (y, backward) in cases(rng):
        dy = rng.normal(size=y.shape)
        given.append(
            {
                "op": name,
                "arrays": [None if one is None else as_given(one) for one in arrays],
                "options": options,
                "dy": as_given(dy[0]),
            }
        )
        gradients = backward(dy)
        known.append([y, *(gradients if isinstance(gradients, tuple) else (gradients,))])
    script = """given.map(({op, arrays, options, dy}) => {
      const [y, backward] = OPS[op](...arrays.map((one) => one && read(one)), options);
      return [y, ...backward(read(dy))].map(plain);
    })"""
    assert {one["op"] for one in given} >= set(contents.FUNCTIONS)
    for case, found, right in zip(given, computed(tmp_path, given, script), known, strict=True):
        for one, other in zip(found, right, strict=False):
            assert (one is None) == (other is None), case["op"]
            if one is not None:
                assert np.prod(one["shape"]) == other.size
                assert_close(one["data"], other)


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_it_has_the_layers_of_all_nets_that_a_run_can_have(name):
    net = contents._of_net(zoo.make(name, 0, image_size=16))
    assert {layer["op"] for layer in net["layers"]} <= {
        *contents.FUNCTIONS,
        *("conv2d", "linear", "batch_norm"),
    }


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn_16_1", "mobilenetv2"])
def test_a_net_is_computed_as_npkd_does(name, tmp_path):
    rng = np.random.default_rng(1)
    net = zoo.make(name, rng, num_classes=3, image_size=16)
    for theta in net.state_dict().values():
        if theta.dtype.kind == "f" and theta.ndim == 1:
            theta[...] = rng.uniform(0.5, 1.5, theta.shape)
    exact = net.astype(np.float64)
    x, dy = rng.normal(size=(1, 3, 16, 16)), rng.normal(size=(1, 3))
    y, backward = exact(x)
    dx, grads = backward(dy)
    given = {"net": contents._of_net(net), "x": as_given(x[0]), "dy": as_given(dy[0])}
    script = """(() => {
      const params = paramsOf(given.net);
      const [outputs, backward] = features(given.net, params, { x: read(given.x) });
      const { dys, grads } = backward(read(given.dy));
      const part = ([name, g]) => [name, Array.from(g.data).filter((_, n) => n % 97 === 0)];
      return {
        y: plain(outputs[given.net.layers.at(-1).name]), dx: plain(dys.x),
        grads: Object.fromEntries(Object.entries(grads).map(part)),
      };
    })()"""
    found = computed(tmp_path, given, script)
    scale = 10 if name == "mobilenetv2" else 1  # longer sums
    np.testing.assert_allclose(found["y"]["data"], y[0], rtol=0, atol=scale * 1e-12 * abs(y).max())
    np.testing.assert_allclose(
        found["dx"]["data"], dx.ravel(), rtol=0, atol=scale * 1e-12 * abs(dx).max()
    )
    assert found["grads"].keys() == grads.keys()
    for key, g in grads.items():
        np.testing.assert_allclose(
            found["grads"][key], g.ravel()[::97], rtol=0, atol=scale * 1e-11 * abs(g).max()
        )


def test_a_layer_that_the_page_has_not_is_named():
    from npkd.nets import Dropout

    with pytest.raises(ValueError, match="its layer 'drop' is a Dropout that the page has not"):
        contents._of_layer("drop", Dropout(0.5))


# The losses


def logits(rng):
    """Rows of both nets, and a label: far apart, near each other, and sure of themselves."""
    for scale, apart in [(1, 1), (3, 1e-6), (20, 1), (30, 1e-3), (0.1, 0.1)]:
        t = scale * rng.normal(size=6)
        yield t + apart * rng.normal(size=6), t, int(rng.integers(6))


def test_its_losses_are_npkds_and_their_formulas_have_their_gradients(tmp_path):
    given, known = [], []
    for z, t, label in logits(np.random.default_rng(2)):
        for name in contents.LOSSES:
            for T in (0.5, 1.0, 4.0, 20.0) if name in contents.SOFTENED else (1.0,):
                arrays = {"logits": z[None], "student": z[None], "teacher": t[None]}
                arrays["labels"] = np.array([label])
                of = [arrays[one] for one in FACTS[name].arrays]
                options = {"temperature": T} if name in contents.SOFTENED else {}
                known.append(getattr(losses, name)(*of, reduction="sum", **options))
                given.append({"name": name, "z": z.tolist(), "t": t.tolist(), "l": label, "T": T})
    script = """given.map((one) => {
      const loss = LOSSES[one.name];
      const step = (k) => loss.of({...one, z: one.z.map((x, c) => [x, c === k ? 1e-40 : 0])});
      return {
        ...loss.by(one), real: step(0)[0], imaginary: one.z.map((_, k) => step(k)[1] / 1e-40),
      };
    })"""
    for one, found, (value, gradient) in zip(
        given, computed(tmp_path, given, script), known, strict=True
    ):
        scale = max(1.0, one["T"] ** 2)
        where = f"{one['name']} at T = {one['T']}"
        assert abs(found["value"] - value) <= 1e-12 * abs(value), where
        np.testing.assert_allclose(
            found["gradient"], gradient[0], rtol=0, atol=1e-12 * abs(gradient).max(), err_msg=where
        )
        # the plain formula cancels where student and teacher are near: of the size of its terms
        np.testing.assert_allclose(found["real"], value, rtol=1e-9, atol=1e-13 * scale)
        np.testing.assert_allclose(
            found["imaginary"], gradient[0], rtol=1e-8, atol=1e-13 * scale, err_msg=where
        )


def test_all_losses_on_outputs_are_there_but_those_of_a_batch():
    offered = {name for name, facts in FACTS.items() if facts.layers == "output"}
    assert offered - set(contents.LOSSES) == {"mix", "standardize", "dist"}


# The page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the command, with its pages."""
    where = tmp_path_factory.mktemp("run")
    epochs = ["--epochs", "2", "--large-epochs", "1", "--batch-size", "8"]
    status = cli.main(["distill", "--data", tiny.file(where), "--out", str(where / "run"), *epochs])
    assert status == 0
    return where / "run"


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "explore.html").read_text("utf-8")


def looked(folder, page, script):
    """What a script finds in the page, whose document is `d`, once it has compared its numbers.

    It may click (`click("#id button")`) and set (`set("#T", 3)`).
    """
    helpers = """
      const d = frames[0].document;
      const at = (where) => d.querySelector(where);
      const click = (where) => at(where).dispatchEvent(
        new frames[0].MouseEvent("click", { bubbles: true, clientX: 1, clientY: 1 }));
      const set = (where, value, event = "input") => {
        at(where).value = value;
        at(where).dispatchEvent(new frames[0].Event(event, { bubbles: true }));
      };
      const key = (where, name) => at(where).dispatchEvent(
        new frames[0].KeyboardEvent("keydown", { key: name, bubbles: true }));
      const text = (where) => at(where).textContent;
      const wait = () => text("#status").includes("of")
        && !text("#status").match(/On (\\d+) of \\1 samples/) ? setTimeout(wait, 20) : look();
      const look = () => {
    """.replace("\\\\", "\\")
    return browser.found(folder, f"{helpers} {script} }}; wait();", page)


def test_the_page_is_one_file_that_asks_nobody_and_the_console_is_silent(folder, page):
    outside = re.sub(r"http://www.w3.org/2000/svg", "", page)
    assert "://" not in outside
    assert len(re.findall("<script", page)) == 2
    assert page.count("default-src &#x27;none&#x27;") == 1
    assert browser.complaints(folder / "explore.html") == []
    assert (folder / "explore.html").stat().st_size < 3.5e6


def test_its_numbers_are_npkds(folder, page, tmp_path):
    found = looked(
        tmp_path, page, "found([text('#status'), text('#most'), at('#status').className])"
    )
    assert found[0].startswith("This page computes what npkd does. On ")
    assert float(found[1].replace("−", "-")) < 1e-13
    assert found[2] == "right"


@pytest.mark.parametrize("changed", ["z", "gradient", "weights"])
def test_numbers_that_are_not_npkds_are_shown_in_red(page, tmp_path, changed):
    (text,) = re.findall('<script id="run"[^>]*>(.*?)</script>', page)
    held = json.loads(text)
    known = held["samples"][-1]["known"]["small"]
    if changed == "z":
        known["z"][0] += 1e-9
    elif changed == "gradient":
        known["losses"][3][3][1] *= 1 + 1e-9
    else:
        known["grads"]["conv1.weight"][2] += 1e-9 * known["grads"]["conv1.weight"][3][1]
    wrong = page.replace(text, json.dumps(held))
    found = looked(tmp_path, wrong, "found([text('#status'), at('#status').className])")
    assert found[0].startswith("This page does NOT compute what npkd does.")
    assert found[1] == "wrong"


def test_a_person_chooses_dials_walks_and_steps(page, tmp_path):
    script = """
      const seen = { samples: d.querySelectorAll("#samples button").length };
      click("#samples button:nth-child(2)");
      seen.second = at("#samples button:nth-child(2)").getAttribute("aria-pressed");
      seen.l2 = text("#value");
      set("#of-loss", "kl", "change");
      seen.kl = text("#value");
      set("#T", 5);
      seen.T = [text("#T-now"), text("#value")];
      set("#w", 1);
      seen.label = text("#value");
      set("#w", 0);
      set("#of-layer", "conv2", "change");
      seen.cell = text("#here");
      key("#layer canvas.chosen", "ArrowDown");
      key("#layer canvas.chosen", "ArrowUp");
      key("#layer canvas.chosen", "ArrowRight");
      seen.moved = text("#here");
      click("#cell .matrix button");
      seen.tap = [...d.querySelectorAll("#cell h4")].map((one) => one.textContent);
      seen.walks = {};
      for (const { value } of [...at("#of-layer").options]) {
        set("#of-layer", value, "change");
        seen.walks[value] = text("#cell .formula");
      }
      seen.before = text("#stepped td:nth-child(2)");
      seen.falls = [text("#moved"), at("#moved").className];
      click("#printed");
      seen.rises = [text("#moved"), at("#moved").className];
      seen.curves = d.querySelectorAll("#last path, #kink path").length;
      seen.asked = [...d.querySelectorAll("#questions button")].map((one) => {
        one.click();
        return [...d.querySelectorAll(".asked:not(:empty)")].map((place) => place.id);
      });
      click("#samples button");
      click("summary");
      key("#pad", " ");
      seen.drawn = [text("#gradient"), at("#T").disabled, at("#of-loss").disabled];
      click("#samples button");
      seen.again = at("#of-loss").disabled;
      found(seen);
    """
    grey = page.replace('"grey":false', '"grey":true')  # so that one may draw
    seen = looked(tmp_path, grey, script)
    assert seen["samples"] >= 4
    assert seen["second"] == "true"
    assert len({seen["l2"], seen["kl"], seen["T"][1], seen["label"]}) == 4
    assert seen["T"][0] == "32.00"
    assert seen["cell"] != seen["moved"]
    assert seen["tap"][0].startswith("dW: w[0, 0, 0, 0] is in every number of channel 0")
    assert len(seen["walks"]) == 9
    assert seen["walks"]["fc1"] == "y[o] = b[o] + Σ_i w[o,i] x[i]"
    assert seen["falls"][1] == "falls"
    assert seen["rises"][1] == "rises"
    assert seen["rises"][0].startswith("The loss has risen by ")
    assert seen["curves"] >= 5
    sections = ["loss", "step", "walk", "check", "loss"]
    assert seen["asked"] == [[f"{section}-asked"] for section in sections]
    assert "nothing teaches it" in seen["drawn"][0]
    assert seen["drawn"][1:] == [True, True]
    assert not seen["again"]


def test_what_is_walked_through_is_what_npkd_has(folder, page, tmp_path):
    """The sums that the page shows for a cell of conv2 are y, dW and dx as the net has them."""
    script = """
      set("#of-layer", "conv2", "change");
      const numbers = [...d.querySelectorAll("#cell .formula b")].map((one) => one.textContent);
      found([text("#here"), ...numbers, ...[...d.querySelectorAll("#cell .formula")]
        .map((one) => one.textContent)]);
    """
    head, y, dw, *lines = looked(tmp_path, page, script)
    assert f"= {y}," in head
    assert f"the sum over 256 places = {dw};" in "".join(lines)


def test_what_somebody_made_up_does_nothing(folder, tmp_path):
    report = of_report.read_json(folder / "report.json")
    for path in folder.glob("*.npz"):
        weights.save_weights(tmp_path / path.name, dict(np.load(path)))
    names = (pages.HOSTILE + 4 * [f"<script>{pages.SCRIPT}</script>"])[: len(report["class_names"])]
    data = report["data"] | {"name": pages.HOSTILE[1]}
    of_report.write_json(tmp_path / "report.json", report | {"class_names": names, "data": data})
    explore.write(tmp_path)
    page = (tmp_path / "explore.html").read_text("utf-8")
    script = """
      click("#samples button:nth-child(2)");
      found([top.document.title, [...d.querySelectorAll("script")].length,
        d.querySelectorAll("img, iframe, base, link").length, text("#predictions")]);
    """
    title, scripts, others, shown = looked(tmp_path, page, script)
    assert title == ""
    assert (scripts, others) == (2, 0)
    assert "<script>" in shown


def test_a_run_that_makes_images_is_refused_in_one_line(tmp_path, capsys):
    finished = tiny.finished(**tiny.RESOLVE)[1]
    of_report.write_json(tmp_path / "report.json", finished.report)
    assert cli.main(["explore", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was to super-resolve" in line


@pytest.mark.parametrize("numbers", [np.inf, np.nan])
def test_numbers_that_are_not_finite_are_one_line(folder, capsys, monkeypatch, numbers):
    monkeypatch.setattr(page_of, "contents", lambda _: {"data": "corners", "z": [numbers]})
    assert cli.main(["explore", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder}: cannot be explored: " in line


def test_it_is_made_again_where_one_likes(folder, page, tmp_path, capsys):
    assert cli.main(["explore", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text("utf-8") == page
    assert "made " in capsys.readouterr().out
