"""Nets as modules of PyTorch, which compute what npkd does, in eight bits to the bit."""

import numpy as np
import pytest
import tiny
from test_export import a_net, of_integers
from test_quantise import Less

from npkd import cli, nets, ops, weights, zoo
from npkd.distill.report import page
from npkd.export import to_torch
from npkd.files import BadInput
from npkd.quantise import Quantised
from npkd.quantise.loop import InTheLoop

torch = pytest.importorskip("torch")


def computed(net, x):
    with torch.no_grad():
        return to_torch.module(net)(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("name", sorted(set(zoo.MODELS) - {"large"}))
def test_a_net_is_the_same_in_pytorch(name):
    net, x = a_net(name, np.random.default_rng(0))
    y, _ = net(x)
    np.testing.assert_allclose(computed(net, x), y, rtol=0, atol=2e-5 * abs(y).max())


@pytest.mark.parametrize("name", sorted(set(zoo.MODELS) - {"large", "vgg8", "resnet8x4"}))
def test_a_net_in_eight_bits_has_the_same_bits_in_pytorch(name):
    net, x = a_net(name, np.random.default_rng(1))
    quantised = Quantised.of(net, x[:4])
    np.testing.assert_array_equal(computed(quantised, x), quantised(x))


def test_integers_of_all_kinds_have_the_same_bits_in_pytorch():
    rng = np.random.default_rng(0)
    net, x = of_integers(rng), rng.normal(size=(40, 2, 9, 7)).astype(np.float32)
    quantised = Quantised.of(net, x[:20])
    np.testing.assert_array_equal(computed(quantised, x), quantised(x))
    np.testing.assert_array_equal(computed(InTheLoop(quantised), x), quantised(x))
    np.testing.assert_allclose(computed(net, x), net(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [("c1", "c1.0"), ("c1.0", "c1")])
def test_a_layer_within_a_layer_is_refused(names):
    net = nets.Network({name: nets.Conv2d(1, 1, 1) for name in names}, (1, 2, 2), 0)
    with pytest.raises(BadInput, match="another: expected one or the other"):
        to_torch.source(net)


def of_all_kinds():
    """A net of layers that none of the zoo has."""
    layers = {
        "a": nets.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(2, 1), takes="x"),
        "silu": nets.Function(ops.silu),
        "b.c": nets.Conv2d(4, 4, 3, padding="same", groups=2, dilation=2, bias=False),
        "b.norm": nets.BatchNorm(4),
        "b.relu": nets.Function(ops.relu),
        "gelu": nets.Function(ops.gelu, approximate="tanh"),
        "pool": nets.Function(ops.max_pool2d, 3, stride=2, padding=1, takes="b.relu"),
        "means": nets.Function(ops.avg_pool2d, 3, stride=2, padding=1, count_include_pad=False,
                               takes="gelu"),
        "both": nets.Concat("pool", "means"),
        "drop": nets.Dropout(0.5),
        "up": nets.Function(ops.pixel_shuffle, 2),
        "sigmoid": nets.Function(ops.sigmoid),
        "bigger": nets.Function(ops.upsample, 2, "bilinear"),
        "tanh": nets.Function(ops.tanh),
        "flat": nets.Function(ops.flatten),
        "in_": nets.Linear(384, 3, bias=False),
    }  # fmt: skip
    net = nets.Network(layers, (2, 9, 7), 0)
    for theta in net.params.values():
        theta *= 3
    return net, np.random.default_rng(1).normal(size=(5, 2, 9, 7)).astype(np.float32)


def test_layers_of_all_kinds_are_the_same_in_pytorch():
    net, x = of_all_kinds()
    y, _ = net(x)
    np.testing.assert_allclose(computed(net, x), y, rtol=0, atol=2e-5 * abs(y).max())


def test_the_files_are_loaded_as_they_are(tmp_path):
    net, x = a_net("resnet8", np.random.default_rng(2))
    for number, one in enumerate((net, Quantised.of(net, x))):
        path = tmp_path / f"net{number}.pt"
        for where, data in to_torch.files(one, path).items():
            where.write_bytes(data)
        names = {}
        exec(path.with_suffix(".py").read_text(), names)
        made = names["Net"]().eval()
        made.load_state_dict(torch.load(path))
        np.testing.assert_array_equal(made(torch.from_numpy(x)).detach().numpy(), computed(one, x))
    held = weights.load_weights(tmp_path / "net0.pt")  # npkd reads it, too
    assert held.keys() == net.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "expected names of Python"),
        ("x = 1; y", "expected names of Python"),
        ("if", "expected names of Python"),
        ("forward", "modules of PyTorch have that name"),
        ("block.keys", "modules of PyTorch have that name"),
    ],
)
def test_names_that_a_module_cannot_have_are_refused(tmp_path, name, words):
    net = nets.Network({name: nets.Conv2d(1, 1, 1)}, (1, 2, 2), 0)
    with pytest.raises(BadInput, match=words):
        to_torch.files(net, tmp_path / "net.pt")


def test_a_name_of_a_file_is_no_code():
    net = nets.Network({"conv": nets.Conv2d(1, 1, 1)}, (1, 2, 2), 0)
    text = to_torch.source(net, 'a"""; import this; """.pt')
    assert "import this" not in text
    assert "torch.load('PATH')" in text


@pytest.mark.parametrize("quantised", [False, True])
def test_a_subclass_is_refused_whatever_its_op_is(quantised):
    net = nets.Network({"conv": nets.Conv2d(1, 1, 1), "own": Less(ops.relu)}, (1, 2, 2), 0)
    x = np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(BadInput, match="layer 'own' is a Less, which is not exported"):
        to_torch.source(Quantised.of(net, x) if quantised else net)


def test_a_module_does_not_take_the_place_of_its_weights(tmp_path):
    net = nets.Network({"conv": nets.Conv2d(1, 1, 1)}, (1, 2, 2), 0)
    with pytest.raises(BadInput, match=r"ends in \.py"):
        to_torch.files(net, tmp_path / "net.py")


def test_layers_of_all_kinds_are_named_where_onnx_has_none():
    onnx = pytest.importorskip("npkd.export.to_onnx")
    net, _ = of_all_kinds()
    with pytest.raises(BadInput, match="layer 'silu' is a silu, which is not exported"):
        onnx.model(net)


def test_the_command_takes_nets_that_make_images(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(page, "write", lambda folder: None)
    run = str(tmp_path / "run")
    more = ["--task", "super-resolve", "--epochs", "1", "--large-epochs", "1", "--size", "24"]
    assert cli.main(["distill", "--data", tiny.file(tmp_path), "--out", run, *more]) == 0
    assert cli.main(["quantise", run, "--data", tiny.file(tmp_path), "--size", "24"]) == 0
    for arguments in ([], ["--int8"]):
        assert cli.main(["export", run, "--to", "torch", *arguments]) == 0
        assert "images of twice their size" in capsys.readouterr().out
