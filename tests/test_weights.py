"""npkd.weights: files as people have them, read to the bit without running anything; what fits."""

import argparse
import io
import os
import pickle
import struct
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import PurePosixPath
from types import SimpleNamespace

import malformed
import numpy as np
import pytest

import npkd
from npkd import nets, ops, weights
from npkd.files import BadInput

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv.weight": RNG.standard_normal((4, 3, 2, 1)).astype(np.float32),
    "bn.num_batches_tracked": np.array(7),
    "double": RNG.standard_normal(5),
    "empty": np.zeros((3, 0), np.float32),
    "small": RNG.integers(-9, 9, (2, 3)).astype(np.int8),
    "flags": np.array([True, False]),
    "complex": RNG.standard_normal(4).astype(np.complex64),
}
# Every float16, and every bfloat16, of the bits 0 to 2¹⁶ − 1
EACH_16 = np.arange(1 << 16).astype(np.uint16)
WIDENED = {
    "float16": EACH_16.view(np.float16).astype(np.float32),
    "bfloat16": (EACH_16.astype(np.uint32) << 16).view(np.float32),
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        array = np.asarray(array)
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert found[name].tobytes() == array.tobytes(), name


def loaded(data, tmp_path, name="weights.pt"):
    (tmp_path / name).write_bytes(data)
    return weights.load_weights(tmp_path / name)


def refusal(data, tmp_path, name="weights.pt"):
    with pytest.raises(BadInput) as refused:
        loaded(data, tmp_path, name)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert len(message.splitlines()) == 1
    return message


def saved(torch, content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


# state_dicts of PyTorch


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "pytorch_model.bin", "net.npz", "net"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_state_dict_is_told_by_its_content_and_read_without_pytorch(order, name, tmp_path):
    assert_equal(loaded(malformed.state_dict(ARRAYS, order=order), tmp_path, name), ARRAYS)


@pytest.mark.parametrize("kind", WIDENED)
def test_16_bit_floats_of_a_state_dict_are_widened_exactly(kind, tmp_path):
    stored = EACH_16.view(np.float16) if kind == "float16" else EACH_16
    found = loaded(malformed.state_dict({"w": stored}), tmp_path)["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, WIDENED[kind])


def test_it_is_what_pytorch_reads(tmp_path):
    torch = pytest.importorskip("torch")
    held = torch.load(io.BytesIO(malformed.state_dict(ARRAYS)), weights_only=True)
    assert_equal({name: theta.numpy() for name, theta in held.items()}, ARRAYS)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_pytorch_writes_is_read_to_the_bit(protocol, tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.arange(120.0).reshape(2, 3, 4, 5)
    state = {
        **{"whole": x, "turned": x.permute(3, 0, 2, 1), "part": x[1, :, 1:3, ::2]},  # one storage
        **{"number": torch.tensor(3), "none": torch.zeros(0, 4), "ä/b c": torch.ones(2)},
        **{"parameter": torch.nn.Parameter(torch.rand(3)), "long": x[..., 1:2].long()},
        **{"half": x.half() / 3, "brain": x.bfloat16() / 3, "double": x.double() / 3},
    }
    found = loaded(saved(torch, state, pickle_protocol=protocol), tmp_path)
    expected = {
        name: (theta.float() if theta.dtype.itemsize == 2 else theta).detach().numpy()
        for name, theta in state.items()
    }
    assert_equal(found, expected)


@pytest.mark.parametrize("name", ["state_dict", "model", "model_state_dict", "net"])
def test_a_checkpoint_gives_its_state_dict_and_plain_values_are_left_out(name, tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.rand(2, 3, 5, 5)).sum().backward()
    optimiser.step()
    checkpoint = {
        **{name: net.state_dict(), "epoch": 3, "best": torch.tensor(7.5), "loss": 0.25},
        **{"optimizer": optimiser.state_dict(), "opt": argparse.Namespace(lr=0.1, net="x")},
        **{"scheduler": torch.optim.lr_scheduler.MultiStepLR(optimiser, [3]).state_dict()},
        **{"figure": np.float64(1.5), "size": torch.Size([1, 2]), "dtype": torch.float32},
        **{"array": np.arange(3.0), "random": np.random.default_rng(0).bit_generator.state},
        **{"path": PurePosixPath("a/b"), "set": {1, "a"}, "frozen": frozenset({2}), "c": 2j},
        **{"default": defaultdict(list, {"a": [1]}), "day": datetime(2026, 1, 1, tzinfo=UTC)},
        **{"simple": SimpleNamespace(lr=1), "criterion": torch.nn.CrossEntropyLoss(torch.ones(3))},
        **{"keys": {None: 1, 0.5: 2, (1, (2,)): 3}, "losses": [0.5] * 99_999, "at": [True] * 9_999},
        **{"expanded": torch.ones(1).expand(9), "again": None},
    }
    checkpoint["again"] = checkpoint["simple"]
    expected = {key: theta.numpy() for key, theta in net.state_dict().items()}
    for protocol in (2, 5):
        data = saved(torch, checkpoint, pickle_protocol=protocol)
        assert_equal(loaded(data, tmp_path), expected)


def test_a_tensor_that_is_expanded_is_read_as_pytorch_shows_it(tmp_path):
    torch = pytest.importorskip("torch")
    state = {"w": torch.arange(3.0)[:, None].expand(3, 4), "ones": torch.ones(1).expand(2, 5)}
    found = loaded(saved(torch, state), tmp_path)
    assert_equal(found, {name: theta.numpy() for name, theta in state.items()})


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("state_dict_ema", "it holds several: 'state_dict', 'state_dict_ema'; save the one you"),
        ("model_ema", "it holds several: 'state_dict', 'model_ema'; save the one you want"),
        ("best_so_far", "it holds several: 'best_so_far', 'state_dict'; save the one you want"),
    ],
)
def test_of_several_state_dicts_none_is_chosen(beside, words, tmp_path):
    torch = pytest.importorskip("torch")
    state, other = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    both = {"state_dict": state, beside: other}
    assert words in refusal(saved(torch, both), tmp_path)
    same = {"state_dict": state, beside: state, "optimizer": {"state": {}}}
    assert_equal(loaded(saved(torch, same), tmp_path), {"w": np.zeros(3, np.float32)})


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema_state_dict", "ema"])
def test_a_mean_of_weights_alone_is_taken(name, tmp_path):
    torch = pytest.importorskip("torch")
    data = saved(torch, {name: {"w": torch.ones(3)}, "epoch": 3})
    assert_equal(loaded(data, tmp_path), {"w": np.ones(3, np.float32)})


@pytest.mark.parametrize("protocol", range(6))
def test_a_program_that_does_harm_is_refused_wherever_it_stands(protocol, tmp_path):
    canary = tmp_path / "it-ran"
    harm = malformed.Calls(os.mkdir, str(canary))
    state = malformed.pickled_state_dict(ONE)[2:-1]
    harmful = pickle.dumps(harm, protocol, fix_imports=False)
    harmful = harmful.removeprefix(bytes([128, protocol]) if protocol > 1 else b"")[:-1]
    if protocol > 3:
        harmful = harmful[9:]  # the frame
    model, v = b"X\x05\0\0\0model", b"X\x01\0\0\0v"
    beside = program(b"}" + model + state + b"s" + v + harmful + b"s.", ONE)
    among = program(state + v + harmful + b"s.", ONE)
    alone = program(harmful + b".", ONE)
    for data in (beside, among, alone):
        assert "it asks for posix.mkdir, with which a file does harm" in refusal(data, tmp_path)
    assert not canary.exists()


def test_what_npkd_does_not_know_is_left_out_beside_weights_and_refused_among_them(tmp_path):
    torch = pytest.importorskip("torch")
    state, other = {"w": torch.ones(3)}, PurePosixPath("a")
    found = loaded(saved(torch, {"model": state, "v": other}), tmp_path)
    assert_equal(found, {"w": np.ones(3, np.float32)})
    among = refusal(saved(torch, state | {"v": other}), tmp_path)
    assert "its 'v' is a pathlib.PurePosixPath, and no tensor that npkd reads" in among
    alone = refusal(saved(torch, other), tmp_path)
    assert "it holds a pathlib.PurePosixPath, expected a state_dict" in alone


def whole_net(name=None):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    return saved(torch, {name: net, "epoch": 3} if name else net)


def exported():
    torch = pytest.importorskip("torch")
    file, net = io.BytesIO(), torch.nn.Linear(3, 2)
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3),)), file)
    return file.getvalue()


def expanded():
    repeated = malformed.tensor(0, "Double", 2, 0, (10**9,), (0,))
    return program(b"}X\x01\0\0\0w" + repeated + b"s.", ONE)


def old_format():
    torch = pytest.importorskip("torch")
    return saved(torch, {"w": torch.zeros(3)}, _use_new_zipfile_serialization=False)


def of_type(name):
    torch = pytest.importorskip("torch")
    return saved(torch, {"fc.weight": torch.zeros(3).to(getattr(torch, name))})


def conjugated():
    torch = pytest.importorskip("torch")
    return saved(torch, {"w": torch.zeros(2, dtype=torch.cfloat).conj()})


def program(data, arrays=()):
    return malformed.state_dict(dict(arrays), b"\x80\x02" + data)


ONE = {"w": np.zeros(2)}
TWICE = b"}%(net)b%(one)bs%(model)b%(one)bs." % {
    **{b"net": b"X\x03\0\0\0net", b"model": b"X\x05\0\0\0model"},
    b"one": malformed.pickled_state_dict(ONE)[2:-1],
}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (whole_net, "it holds a whole net (torch.nn.modules.container.Sequential), not its"),
        (lambda: whole_net("model"), "it holds a whole net (torch.nn.modules.container.Sequential"),
        (
            exported,
            "it holds a program of torch.export (.pt2), not a state_dict; in PyTorch: torch.",
        ),
        (
            old_format,
            "PyTorch had before 1.6. If it is from somebody you trust, as it may run",
        ),
        (lambda: of_type("float8_e4m3fn"), "'fc.weight' is of 'float8_e4m3fn', which npkd does"),
        (lambda: of_type("uint16"), "'fc.weight' is of 'uint16', which npkd does not read"),
        (lambda: program(b"]."), "it holds a list, expected a state_dict"),
        (lambda: program(b"}X\x03\0\0\0gen}s."), "it holds 'gen'; expected tensors by name, or"),
        (lambda: program(TWICE, ONE), "it holds several: 'net', 'model'; save the one you want"),
        (lambda: program(b"N" * 3_000_000), "operations than tensors need; save the weights alone"),
        (lambda: malformed.state_dict({"w" * 10**6: np.zeros(2, "V2")}), "'wwwwww"),
        (lambda: malformed.state_dict(ARRAYS)[:2000], "it is cut off or damaged"),
        (expanded, "8,000,000,000 bytes, as some are expanded; give contiguous()"),
        (conjugated, "it holds a tensor that is conjugated or negated as it is read"),
        (lambda: pickle.dumps({"w": 1}), "a plain pickle, which may run code and is not read"),
        (lambda: b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras has it"),
        (lambda: b"weights", "not an .npz or .safetensors file, or a state_dict of PyTorch"),
        (lambda: malformed.state_dict(ARRAYS, compressed=True), "is compressed"),
        (
            lambda: malformed.state_dict(ARRAYS, members={"b/data.pkl": b""}),
            "has 2 members named data.pkl",
        ),
        (
            lambda: malformed.state_dict(ARRAYS, members={"a/constants.pkl": b""}),
            "a TorchScript pr",
        ),
    ],
)
def test_anything_else_is_refused_by_name_with_the_way_out(made, words, tmp_path):
    message = refusal(made(), tmp_path)
    assert words in message
    assert len(message) < 600


SIX = 2 * 3  # numbers in a storage


@pytest.mark.parametrize(
    ("offset", "size", "steps"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (2, 2), (2**40, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (5, (2,), (-1,)),
        (0, (-2, -3), (3, 1)),
        (0, (2, 3), (3,)),
        (0, (2,), (3, 1)),
        (0, (1,) * 65, (1,) * 65),
        (2**70, (1,), (1,)),
    ],
)
def test_a_tensor_lies_within_its_storage_or_is_refused(offset, size, steps, tmp_path):
    crafted = b"}X\x01\0\0\0w" + malformed.tensor(0, "Float", SIX, offset, size, steps) + b"s."
    member = {"a/data/0": bytes(4 * SIX)}
    assert "tensor" in refusal(
        malformed.state_dict({}, b"\x80\x02" + crafted, members=member), tmp_path
    )


@pytest.mark.parametrize("count", [5, 7, -6, 2**62])
def test_a_storage_has_the_size_that_the_pickle_says(count, tmp_path):
    crafted = b"\x80\x02}X\x01\0\0\0w" + malformed.tensor(0, "Float", count, 0, (1,), (1,)) + b"s."
    refusal(malformed.state_dict({}, crafted, members={"a/data/0": bytes(4 * SIX)}), tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data.replace(b"\0\0\xe0@", b"\0\0\xe1@", 1)]
)
def test_a_damaged_state_dict_is_refused(damage, tmp_path):
    data = malformed.state_dict({"w": np.full(100, 7, np.float32)})
    refusal(damage(data), tmp_path)


def test_nothing_asks_for_pytorch_or_safetensors(tmp_path):
    (tmp_path / "w.pt").write_bytes(malformed.state_dict(ARRAYS))
    weights.save_weights(tmp_path / "w.safetensors", ARRAYS)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None; "
        "from npkd import checkpoint; "
        "a, b = map(checkpoint.load_weights, sys.argv[1:]); assert a.keys() == b.keys()"
    )
    files = [tmp_path / "w.pt", tmp_path / "w.safetensors"]
    subprocess.run([sys.executable, "-c", code, *files], check=True)


# .safetensors and .npz


def of_header(header, body=b""):
    return struct.pack("<Q", len(header)) + header + body


def test_safetensors_are_written_as_its_own_package_writes_them(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    weights.save_weights(tmp_path / "w.safetensors", ARRAYS)
    contiguous = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}
    contiguous["bn.num_batches_tracked"] = ARRAYS["bn.num_batches_tracked"]
    theirs = package.save(contiguous)
    assert (tmp_path / "w.safetensors").read_bytes() == theirs
    assert_equal(loaded(theirs, tmp_path, "theirs"), ARRAYS)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_order_come_back(order, tmp_path):
    turned = {name: np.asarray(array, order=order) for name, array in ARRAYS.items()}
    turned["big-endian"] = ARRAYS["double"].astype(">f8")
    weights.save_weights(tmp_path / "w.safetensors", turned)
    found = weights.load_weights(tmp_path / "w.safetensors")
    assert_equal(found, ARRAYS | {"big-endian": ARRAYS["double"]})


@pytest.mark.parametrize(("kind", "name"), [("float16", "F16"), ("bfloat16", "BF16")])
def test_16_bit_floats_of_safetensors_are_widened_exactly(kind, name, tmp_path):
    header = b'{"w":{"dtype":"%s","shape":[65536],"data_offsets":[0,131072]}}' % name.encode()
    found = loaded(of_header(header, EACH_16.tobytes()), tmp_path, "w.safetensors")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, WIDENED[kind])


def test_an_npz_unpacks_to_no_more_than_weights_do(tmp_path):
    zeros = {"w": np.zeros(weights.UNPACKED // 4, np.float32)}
    data = malformed.npz(zeros, compressed=True)
    assert "it unpacks to 67,1" in refusal(data, tmp_path, "w.npz")
    assert_equal(loaded(malformed.npz(zeros), tmp_path, "w.npz"), zeros)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".ckpt"])
def test_files_of_pytorch_are_not_written(ending, tmp_path):
    with pytest.raises(BadInput, match=r"expected \.npz or \.safetensors"):
        weights.save_weights(tmp_path / f"w{ending}", ARRAYS)


def test_float16_of_npz_is_widened_too_but_not_for_the_judge(tmp_path):
    halves = EACH_16.view(np.float16)
    np.savez(tmp_path / "w.npz", w=halves)
    np.testing.assert_array_equal(weights.load_weights(tmp_path / "w.npz")["w"], WIDENED["float16"])
    assert weights.load_arrays(tmp_path / "w.npz")["w"].dtype == np.float16


ENTRY = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (
            '{"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}',
            "'w' is of 'F8_E4M3', which npkd",
        ),
        (
            '{"w":{"dtype":"float32","shape":[2],"data_offsets":[0,8]}}',
            "'w' is of 'float32', which npkd",
        ),
        ('{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', "'w' is cut off, or not where"),
        ('{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', "'w' has no shape"),
        ('{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', "not where a tensor"),
        ('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', "4 bytes that are no tensor's"),
        (f'{{"w":{ENTRY},"v":{ENTRY}}}', "is cut off, or not where"),
        (f'{{"w":{ENTRY},"w":{ENTRY}}}', "'w' stands twice in one object"),
        (f'{{"w":{ENTRY}', "not a .safetensors file that npkd can take"),
        ('{"w":' + "[" * 100_000, "not a .safetensors file that npkd can take"),
    ],
)
def test_other_headers_are_refused(header, words, tmp_path):
    assert words in refusal(of_header(header.encode(), bytes(8)), tmp_path, "w.safetensors")


def test_a_dtype_that_safetensors_has_not_is_refused(tmp_path):
    with pytest.raises(BadInput, match="w is complex128, which the format does not have"):
        weights.save_weights(tmp_path / "w.safetensors", {"w": np.zeros(2, complex)})
    with pytest.raises(BadInput, match="a parameter is named __metadata__, as"):
        weights.save_weights(tmp_path / "w.safetensors", {"__metadata__": np.zeros(2)})
    assert list(tmp_path.iterdir()) == []


# What a net takes


def net(rng=0):
    layers = {
        "conv1": nets.Conv2d(3, 4, 3, padding=1),
        "bn1": nets.BatchNorm(4),
        "relu1": nets.Function(ops.relu),
        "conv2": nets.Conv2d(4, 4, 1, groups=4),
        "flatten": nets.Function(ops.flatten),
        "fc": nets.Linear(4 * 2 * 3, 5),
    }
    return nets.Network(layers, (3, 2, 3), rng)


def complaint(values):
    with pytest.raises(ValueError, match="Network: ") as refused:
        net(1).load(values)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "module.module.", "a.b.conv1."])
@pytest.mark.parametrize("others", [{}, {"n_averaged": np.array(3)}])
def test_what_wrappers_put_before_every_name_is_taken_off(prefix, others):
    state, other = net(0).state_dict(), net(1)
    other.load({prefix + name: value for name, value in state.items()} | others)
    assert_equal(other.state_dict(), state)


@pytest.mark.parametrize("beside", [{"epoch": np.array(0.5)}, {"list": np.ones(2, int)}])
def test_it_is_taken_off_only_if_it_is_before_every_name(beside):
    state = net().state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert "'module.' before them" in complaint(wrapped | beside)
    del wrapped["module.fc.bias"]
    assert "weights lack ['fc.bias'], and have [] that" in complaint(wrapped)
    assert "have ['n_averaged'] that" in complaint(state | {"n_averaged": np.array(3)})
    layers = {"module.fc": nets.Linear(2, 3)}  # a name of its own
    own = nets.Network({"flat": nets.Function(ops.flatten), **layers}, (2, 1, 1), 0)
    own.load(own.state_dict())


def test_a_prefix_of_most_names_is_named_with_what_takes_it_off():
    others = {"teacher.fc.weight": np.ones(2), "epoch": np.ones(1)}
    values = {f"student.{name}": value for name, value in net().state_dict().items()} | others
    message = complaint(values)
    assert "its names are there with 'student.' before them" in message
    expression = message.split("take that off: ")[1]
    found = eval(expression, {"weights": values})  # it does what it says
    net(1).load(found)


def test_names_that_are_missing_or_too_many_come_with_the_nearest():
    values = dict(net().state_dict())
    values["conv1.weights"] = values.pop("conv1.weight")
    values["fc.kernel"] = values.pop("fc.weight")
    message = complaint(values)
    assert "lack ['conv1.weight', 'fc.weight'], and have ['conv1.weights', 'fc.kernel']" in message
    assert "; conv1.weights: is conv1.weight meant?; fc.kernel: is fc.weight meant?" in message


@pytest.mark.parametrize(
    ("name", "given", "shape"),
    [
        ("bn1.bias", "bn1.gamma", (4,)),  # which is the weight
        ("conv1.weight", "conv2.weights", (4, 3, 3, 3)),
        ("conv1.weight", "conv1.weights", (4, 3, 5, 5)),
        ("conv1.weight", "conv1.0.weight", (4, 3, 3, 3)),
    ],
)
def test_no_name_is_suggested_of_another_spelling_number_or_shape(name, given, shape):
    values = dict(net().state_dict())
    del values[name]
    assert "meant?" not in complaint(values | {given: np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    "names",
    [
        ("fc.weight_orig", "fc.weight_mask"),
        ("fc.weight_g", "fc.weight_v"),
        ("fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"),
    ],
)
def test_of_a_pruned_or_normed_weight_it_is_said_how_to_remove_that(names):
    values = dict(net().state_dict())
    message = complaint(dict.fromkeys(names, values.pop("fc.weight")) | values)
    assert f"{names[0]!r} is part of a weight that is pruned or normed; remove" in message or (
        f"{names[1]!r} is part of a weight that is pruned or normed; remove" in message
    )


def tensor(change):
    torch = pytest.importorskip("torch")
    return change(torch.zeros(5, requires_grad=True))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: None, "weights are None, expected a dict of arrays by name"),
        (lambda: "small.npz", "weights are 'small.npz', expected a dict of arrays by name"),
        (lambda: {3: np.ones(3)}, "expected a dict of arrays by name"),
        (lambda: net(1), "weights are <npkd.nets.network.Network object"),
        (
            lambda: {"fc.bias": tensor(lambda w: w.detach().bfloat16())},
            "'fc.bias' cannot become a NumPy array: Got unsupported ScalarType BFloat16",
        ),
        (
            lambda: {"fc.bias": tensor(lambda w: w)},
            "'fc.bias' cannot become a NumPy array: Can't call numpy() on Tensor that requires g",
        ),
        (lambda: {"fc.bias": [[1.0], 2.0]}, "'fc.bias' cannot become a NumPy array: "),
        (
            lambda: {"fc.bias": np.ma.masked_less(np.zeros(5), 1)},
            "'fc.bias' is a masked array, expected one without a mask",
        ),
        (lambda: {"bn1.running_var": -np.ones(4)}, "bn1.running_var holds negative values, exp"),
        (lambda: {"x" * 10**6: np.ones(4)}, "and have ['xxxxx"),
    ],
)
def test_what_is_no_weight_is_refused_in_one_line(made, words):
    values = made()
    if isinstance(values, dict) and 3 not in values:
        values = net().state_dict() | values
    message = complaint(values)
    assert words in message
    assert len(message) < 400


def test_of_many_names_the_first_are_listed():
    values = net().state_dict() | {f"layer{k}": np.ones(1) for k in range(2000)}
    message = complaint(values)
    assert "and 1,994 more] that are not its" in message
    assert len(message) < 300


def turned(name, *axes):
    return {name: net().params[name].transpose(axes)}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (turned("conv1.weight", 2, 3, 1, 0), "(height, width, in, out) of Keras and JAX? Give "),
        (turned("conv2.weight", 2, 3, 1, 0), "Give w.transpose(3, 2, 0, 1)"),
        (turned("conv2.weight", 2, 3, 0, 1), "Give w.transpose(2, 3, 0, 1)"),
        (
            turned("fc.weight", 1, 0),
            "(in, out) of Keras and JAX? Give w.transpose(1, 0), or behind",
        ),
    ],
)
def test_a_layout_of_another_framework_is_refused_with_the_transposition(wrong, words):
    ((name, given),) = wrong.items()
    message = complaint(net().state_dict() | wrong)
    assert words in message
    advice = message.split("Give ")[1].split(", or ")[0]
    own = net().params[name]
    np.testing.assert_array_equal(eval(advice, {"w": given}), own)


def test_a_matrix_behind_a_flattening_of_maps_with_channels_last_is_advised_about():
    """A net with channels last, whose matrix takes its maps flattened in that order."""
    own = net().params["fc.weight"]  # (5, 4·2·3)
    theirs = own.reshape(5, 4, 2, 3).transpose(2, 3, 1, 0).reshape(-1, 5)
    advice = complaint(net().state_dict() | {"fc.weight": theirs}).split("maps ")[1]
    found = eval(advice, {"w": theirs, "H": 2, "W": 3, "C": 4})
    np.testing.assert_array_equal(found, own)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool, object, "V2", "U2"])
def test_whole_numbers_are_no_weights_but_count_batches(dtype):
    values = net().state_dict() | {"fc.weight": np.zeros((5, 24), dtype)}
    message = complaint(values)
    assert f"fc.weight is {np.dtype(dtype)}, expected float32; quantised weights" in message
    net(1).load(net().state_dict() | {"bn1.num_batches_tracked": np.array(3, np.int32)})


def test_the_name_it_once_had_leads_there():
    from npkd import checkpoint

    assert checkpoint is npkd.weights
