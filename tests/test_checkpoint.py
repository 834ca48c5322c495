"""Weights on disk, and the folder of a run."""

import numpy as np
import pytest

from npkd import SmallCNN, weights
from npkd.distill import checkpoint
from npkd.files import BadInput


def test_weights_come_back_bit_for_bit(tmp_path):
    network, other = SmallCNN(0), SmallCNN(1)
    weights.save_weights(tmp_path / "small.npz", network.params)
    other.load(weights.load_weights(tmp_path / "small.npz"))
    for name, theta in network.params.items():
        assert theta.tobytes() == other.params[name].tobytes()


def test_numpy_alone_reads_the_weights(tmp_path):
    weights.save_weights(tmp_path / "small.npz", SmallCNN(0).params)
    with np.load(tmp_path / "small.npz", allow_pickle=False) as file:
        assert file["fc2.weight"].shape == (10, 128)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        weights.save_weights(tmp_path / name, SmallCNN(0).params)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_weights_go_to_pytorch_and_back_bit_for_bit(tmp_path, ending):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    network, other = SmallCNN(0), SmallCNN(1)
    path, back = tmp_path / f"small.{ending}", tmp_path / f"back.{ending}"
    weights.save_weights(path, network.params)
    if ending == "npz":
        arrays = np.load(path, allow_pickle=False)
        state = {name: torch.from_numpy(theta) for name, theta in arrays.items()}
        np.savez(back, **{name: theta.numpy() for name, theta in state.items()})
    else:
        state = safetensors_torch.load_file(path)
        safetensors_torch.save_file(state, back)
    other.load(weights.load_weights(back))
    for name, theta in network.params.items():
        assert state[name].numpy().tobytes() == theta.tobytes()
        assert other.params[name].tobytes() == theta.tobytes()


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, None])
def test_a_damaged_safetensors_file_is_one_line(tmp_path, damage):
    path = tmp_path / "small.safetensors"
    weights.save_weights(path, SmallCNN(0).params)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] if damage is None else damage)
    with pytest.raises(BadInput, match=r"small\.safetensors: "):
        weights.load_weights(path)


@pytest.mark.parametrize("name", checkpoint.RUN_FILES)
def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(BadInput, match="already holds a run"), checkpoint.run_folder(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "precious"


def test_a_new_folder_is_made_with_its_parents_and_kept_if_used(tmp_path):
    with checkpoint.run_folder(tmp_path / "a" / "b") as folder:
        (folder / "report.json").write_text("{}")
    assert (tmp_path / "a" / "b" / "report.json").exists()


def test_a_new_folder_left_empty_by_a_failure_is_taken_away(tmp_path):
    with pytest.raises(RuntimeError), checkpoint.run_folder(tmp_path / "new"):
        raise RuntimeError
    assert not (tmp_path / "new").exists()


def test_an_older_folder_stays_even_if_empty(tmp_path):
    with pytest.raises(RuntimeError), checkpoint.run_folder(tmp_path):
        raise RuntimeError
    assert tmp_path.exists()


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written to"):
        checkpoint.run_folder(tmp_path / "file" / "run").__enter__()


def test_one_run_at_a_time_is_at_work_in_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    for _ in range(2):
        with (
            checkpoint.run_folder(tmp_path),
            pytest.raises(BadInput, match="another run is at work in it"),
            checkpoint.run_folder(tmp_path),
        ):
            pass


def test_a_result_that_is_a_link_to_nothing_is_not_written_over(tmp_path):
    (tmp_path / "report.json").symlink_to(tmp_path / "absent" / "report.json")
    with pytest.raises(BadInput, match=r"already holds a run \(report.json\)"):
        checkpoint.run_folder(tmp_path).__enter__()
