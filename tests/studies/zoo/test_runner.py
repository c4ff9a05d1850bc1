from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from repscope.errors import FileFormatError, InputError  # noqa: E402
from repscope.studies.datasets import load_images  # noqa: E402
from repscope.studies.training import accuracy  # noqa: E402
from repscope.studies.zoo import NetworkSpec, Recipe, _pool, _worker, load, runner, tasks, trained  # noqa: E402
from repscope.studies.zoo.__main__ import main  # noqa: E402
from repscope.studies.zoo.job import Job  # noqa: E402

SPEC = NetworkSpec("tiny10", {"width": 4})
RECIPE = Recipe.for_images("digits", epochs=2, precision="float32")


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def networks(digits, tmp_path_factory):
    """Two small trained networks, made in this process."""
    return trained(SPEC, digits, RECIPE, [3, 1], tmp_path_factory.mktemp("networks"), limit=200, jobs=1)


def assert_same_weights(a, b):
    for (name, left), (_, right) in zip(a.model.state_dict().items(), b.model.state_dict().items(), strict=True):
        assert torch.equal(left, right), name


def test_a_trained_network_comes_with_its_origin(networks, digits):
    assert [network.seed for network in networks] == [3, 1]
    first = networks[0]
    assert not first.model.training
    assert (first.spec, first.recipe) == (SPEC, RECIPE)
    assert [epoch.number for epoch in first.record.epochs] == [1, 2]
    assert first.test_accuracy == accuracy(first.model, digits.standardised("test"), digits.test_labels)
    assert first.data == {
        "name": "digits",
        "fingerprint": digits.fingerprint,
        "train_images": 200,
        "test_images": 397,
        "channels": 1,
        "classes": 10,
        "notes": [],
    }
    assert first.circumstances["device"] == "cpu"
    assert first.circumstances["precision"] == "float32"
    assert first.file.name == "tiny10-width4-digits-first200-epochs2-seed3.safetensors"


def test_a_file_alone_gives_the_network_back(networks):
    found = load(networks[0].file)
    assert_same_weights(found, networks[0])
    for name in ("spec", "recipe", "seed", "record", "test_accuracy", "data", "circumstances", "file"):
        assert getattr(found, name) == getattr(networks[0], name)


def test_finished_networks_are_used_again(networks, digits, monkeypatch):
    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(Job, "run", refuse)
    again = trained(SPEC, digits, RECIPE, [1, 3], networks[0].file.parent, limit=200)
    assert [network.seed for network in again] == [1, 3]
    assert_same_weights(again[1], networks[0])


def test_several_processes_give_the_same_networks_as_one(networks, digits, tmp_path):
    found = trained(SPEC, digits, RECIPE, [1, 2, 3], tmp_path, limit=200, jobs=2)
    assert_same_weights(found[0], networks[1])
    assert_same_weights(found[2], networks[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"tiny10-width4-digits-first200-epochs2-seed{seed}.safetensors" for seed in (1, 2, 3)
    ]


def test_the_number_of_threads_outside_does_not_matter(networks, digits, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (found,) = trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert_same_weights(found, networks[0])


def test_without_epochs_the_initial_weights_are_kept(digits, tmp_path):
    (found,) = trained(SPEC, digits, dataclasses.replace(RECIPE, epochs=0), [5], tmp_path)
    initial = SPEC.build(digits, 5)
    for name, value in initial.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    assert found.record.epochs == ()
    assert found.test_accuracy < 0.4


class _StopError(Exception):
    pass


def test_an_unfinished_network_continues_at_its_last_epoch(networks, digits, tmp_path, monkeypatch):
    def stop(self, seed, epoch):
        raise _StopError

    monkeypatch.setattr(runner.Report, "epoch", stop)
    with pytest.raises(_StopError):
        trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200, jobs=1)
    assert [path.name.split(".", 1)[1] for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    seen = []
    monkeypatch.setattr(runner.Report, "epoch", lambda self, seed, epoch: seen.append(epoch.number))
    (found,) = trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200, jobs=1)
    assert seen == [2]
    assert_same_weights(found, networks[0])
    assert [path.name.split(".", 1)[1] for path in tmp_path.iterdir()] == ["safetensors"]


def test_a_full_disk_at_the_end_costs_one_epoch_at_most(networks, digits, tmp_path, monkeypatch):
    from repscope.studies import _checkpoint

    replace = os.replace

    def full(source, target):
        if "checkpoint" not in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint.os, "replace", full)
        message = r"trained: '.*seed3\.safetensors' must be writable, with [\d,]+ bytes free .*nothing was written\."
        with pytest.raises(InputError, match=message):
            trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200, jobs=1)
    assert [path.name.split(".", 1)[1] for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    monkeypatch.setattr(runner.Report, "epoch", lambda *_: pytest.fail("trained again"))
    (found,) = trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200, jobs=1)
    assert_same_weights(found, networks[0])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"recipe": dataclasses.replace(RECIPE, crop=2)}, "recipe crop 1 instead of 2"),
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=0.2)}, "recipe learning_rate 0.1 instead of 0.2"),
        ({"data": "other"}, "data fingerprint '.*' instead of '.*'"),
    ],
)
def test_a_file_of_another_training_is_refused(networks, digits, changes, named):
    if "data" in changes:
        changes = {"data": dataclasses.replace(digits, test_labels=(digits.test_labels + 1) % 10)}
    values = {"spec": SPEC, "data": digits, "recipe": RECIPE} | changes
    with pytest.raises(
        InputError, match=rf"trained: '.*seed3.*' must come from the same training, got one with {named}"
    ):
        trained(**values, seeds=[3], folder=networks[0].file.parent, limit=200)


def test_a_file_of_another_network_under_the_same_name_is_refused(networks, digits, tmp_path):
    other = NetworkSpec("tiny10", {"width": 8})
    stolen = tmp_path / networks[0].file.name.replace("width4", "width8")
    stolen.write_bytes(networks[0].file.read_bytes())
    with pytest.raises(InputError, match="got one with spec width 4 instead of 8"):
        trained(other, digits, RECIPE, [3], tmp_path, limit=200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": []}, r"seeds must be one or more different integers from 0, got \[\]"),
        ({"seeds": [1, 1]}, r"seeds must be .*got \[1, 1\]"),
        ({"seeds": [-1]}, r"seeds must be .*got \[-1\]"),
        ({"limit": 1401}, "limit must be from 1 to 1400, .* train images of 'digits', got 1401"),
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"device": "abacus"}, "device must be 'auto' or one that this machine has, got 'abacus'"),
    ],
)
def test_impossible_arguments_are_refused(digits, tmp_path, values, message):
    with pytest.raises(InputError, match=f"trained: {message}"):
        trained(**{"spec": SPEC, "data": digits, "recipe": RECIPE, "seeds": [0], "folder": tmp_path} | values)


def test_a_folder_that_is_a_file_is_refused(digits, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"trained: folder must be a folder or the name of a new one, got '.*taken'"):
        trained(SPEC, digits, RECIPE, [3], tmp_path / "taken")


def test_damaged_and_foreign_files_are_refused(networks, digits, tmp_path):
    path = tmp_path / networks[0].file.name
    with pytest.raises(InputError, match=r"load: path must be the file of a trained network, got .*does not exist"):
        load(path)
    path.write_bytes(networks[0].file.read_bytes()[:-50])
    with pytest.raises(FileFormatError, match=r"load: '.*' must be a whole safetensors file, got .* Delete it"):
        trained(SPEC, digits, RECIPE, [3], tmp_path, limit=200)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(FileFormatError, match=r"load: '.*' must be a 'repscope network 1', got format None"):
        load(path)


def test_weights_that_do_not_fit_are_refused(networks, tmp_path):
    from safetensors import safe_open

    with safe_open(networks[0].file, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "logits.bias"}  # noqa: SIM118
    save_file(tensors, tmp_path / "x.safetensors", metadata)
    with pytest.raises(FileFormatError, match=r"must hold the weights of tiny10-width4, got others \(.*logits\.bias"):
        load(tmp_path / "x.safetensors")


# Processes


def test_an_error_ends_the_call_and_names_the_seed(digits, tmp_path):
    wild = dataclasses.replace(RECIPE, learning_rate=1e30)
    with pytest.raises(
        InputError, match=r"trained: seed [78]: train: learning_rate must keep the loss finite, got 1e\+30"
    ):
        trained(SPEC, digits, wild, [7, 8], tmp_path, jobs=2, limit=200)


def test_a_failure_of_another_kind_comes_with_its_traceback(digits, tmp_path):
    job = Job(SPEC, digits, RECIPE, tmp_path, "many", torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"(?s)trained: seed 4 failed:.*Traceback.*TypeError"):
        list(_pool.run(job, [4], 1))


def test_a_worker_that_is_killed_is_noticed_and_the_others_end(digits, tmp_path):
    job = Job(SPEC, digits, dataclasses.replace(RECIPE, epochs=500), tmp_path, None, torch.device("cpu"))
    others = children(os.getpid())  # of other tests, such as the driver of a browser
    events = _pool.run(job, [0, 1], 2)
    next(events)
    workers = [child for child in children(os.getpid()) if child not in others]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"seed [01]: the process .* was ended by SIGKILL; .*memory.* continues"):
        list(events)
    assert not any(alive(worker) for worker in workers)


def children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("this system does not list the children of a process")
    return [int(child) for child in path.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command(folder, *, jobs, epochs=4):
    options = f"--network tiny10 --option width=4 --data digits --seeds 0-1 --epochs {epochs} --precision float32"
    return [sys.executable, "-m", "repscope.studies.zoo", *options.split(), "--out", str(folder), "--jobs", str(jobs)]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_continues_to_the_same_networks(digits, tmp_path, sign):
    recipe = dataclasses.replace(RECIPE, epochs=4)
    with subprocess.Popen(command(tmp_path, jobs=2), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if re.search(r"seed 0  epoch +2/4", line):
                break
        workers = children(process.pid)
        process.send_signal(sign)
        rest = process.stderr.read()
    assert len(workers) == 2
    assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    if sign == signal.SIGINT:
        assert "Interrupted. The same command continues" in rest
        assert "Traceback" not in rest
    deadline = time.monotonic() + 10
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    assert list(tmp_path.glob("*seed0.checkpoint.safetensors"))
    assert not list(tmp_path.glob("*seed0.safetensors"))
    continued = trained(SPEC, digits, recipe, [0, 1], tmp_path)
    for network, whole in zip(continued, uninterrupted(digits, recipe), strict=True):
        assert_same_weights(network, whole)
        np.testing.assert_array_equal(network.record.accuracies, whole.record.accuracies)


_WHOLE = {}


def uninterrupted(digits, recipe):
    """The networks of a training that nothing interrupts; made once."""
    import tempfile

    if recipe not in _WHOLE:
        with tempfile.TemporaryDirectory() as folder:
            _WHOLE[recipe] = trained(SPEC, digits, recipe, [0, 1], folder)
    return _WHOLE[recipe]


def test_speed_is_measured_once_a_process_and_long_only_where_the_training_is(digits, tmp_path, monkeypatch):
    measured = []

    def speed(_, __, ___, seconds, **____):
        measured.append(seconds)
        return rate

    monkeypatch.setattr(tasks, "images_per_second", speed)
    rate = 1e6
    trained(SPEC, digits, RECIPE, [1, 2, 3], tmp_path / "short", limit=100, jobs=1, progress=True)
    assert measured == [pytest.approx(0.2)]
    rate, measured[:] = 1.0, []
    trained(SPEC, digits, RECIPE, [1, 2], tmp_path / "long", limit=100, jobs=1, progress=True)
    assert measured == [pytest.approx(0.2), pytest.approx(5.0)]


# A GPU, as far as it can be tested without one


def test_a_gpu_is_taken_where_there_is_one_and_computes_in_sixteen_bits(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runner.device_of("auto") == torch.device("cuda")
    assert Recipe.for_images("digits").precision_on(torch.device("cuda", 1)) == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runner.device_of("auto") == torch.device("cpu")
    assert dataclasses.replace(RECIPE, precision="float32").precision_on(torch.device("cuda")) == "float32"


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_several_processes_are_told_the_device(digits, tmp_path, device):
    job = Job(SPEC, digits, RECIPE, tmp_path, 200, torch.device(device))
    pipe = io.BytesIO()
    _worker.send_job(job, pipe)
    pipe.seek(0)
    received = _worker._receive_job(pipe)
    assert received.device == job.device
    assert received._task.device == job.device
    assert (received.spec, received.recipe, received.limit) == (SPEC, RECIPE, 200)
    assert received.data.fingerprint == digits.fingerprint


def test_jobs_are_processes_on_a_gpu_too(digits, tmp_path, monkeypatch):
    asked = []

    def run(job, seeds, workers):
        asked.append((str(job.device), list(seeds), workers))
        yield from ()

    monkeypatch.setattr(_pool, "run", run)
    monkeypatch.setattr(runner, "device_of", lambda _: torch.device("cuda"))
    monkeypatch.setattr(runner, "load", lambda file, device: (file.name[-18:], str(device)))
    found = trained(SPEC, digits, RECIPE, [0, 1, 2], tmp_path, jobs=2)
    assert asked == [("cuda", [0, 1, 2], 2)]
    assert found[0] == ("-seed0.safetensors", "cuda")


# The command line


def test_the_command_reports_line_by_line_and_sums_up(tmp_path, capsys):
    arguments = command(tmp_path, jobs=1, epochs=2)[3:]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    # Whether the first epoch took as long as was measured is up to the machine.
    lines = [line for line in err.splitlines() if not line.startswith("the first epoch took")]
    assert re.fullmatch(
        r"2 × tiny10-width4 \(5,662 parameters\), 2 epochs of 1,400 images of digits, 1 at once on cpu in float32",
        lines[0],
    )
    assert re.fullmatch(r"measured [\d,]+ images/s a network, [\d,]+ in all: about \d+ s to expect", lines[1])
    assert re.fullmatch(r"seed 0  epoch 1/2  loss \d\.\d{4}  train \d+\.\d %  \d+\.\d s  left \d+ s", lines[2])
    assert re.fullmatch(r"seed 0  finished after \d+ s: test accuracy \d+\.\d\d %", lines[4])
    assert len(lines) == 8
    assert re.fullmatch(r"2 × tiny10-width4: test accuracy \d+\.\d\d ± \d+\.\d\d %, in .*\n", out)
    assert main([*arguments, "--epochs", "2", "--seeds", "1,0"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--seeds", "a"], "error: --seeds: must be like 0-9 or 0,3,5, got 'a'"),
        (["--option", "width"], "error: --option: must be NAME=VALUE with a number, true or false, got 'width'"),
        (["--epochs", "-1"], "error: Recipe: epochs must be 0 or more, got -1"),
        (["--data", "cifar10"], "error: load_images: data_dir must name the folder of CIFAR-10, got None"),
    ],
)
def test_bad_arguments_end_with_one_line(tmp_path, capsys, changes, message):
    assert main([*command(tmp_path, jobs=1)[3:], *changes]) == 1
    assert capsys.readouterr().err.startswith(message)


def test_workers_are_used_where_they_pay(digits, tmp_path, monkeypatch):
    def jobs(epochs, device="cpu"):
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        return runner._jobs(Job(SPEC, digits, recipe, tmp_path, None, torch.device(device)))

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert (jobs(10), jobs(100), jobs(100, "cuda")) == (1, 3, 1)
