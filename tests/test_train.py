"""One run from outside: its files, that it resumes exactly, repeats exactly, and refuses what it must."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.special import log_softmax
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cifar100x.data.synthetic import draw
from cifar100x.nets.conv import ConvNet
from cifar100x.runs.directory import RunDirectory
from cifar100x.training import machine
from cifar100x.training.task import derived_seed
from tests.conftest import TINY, in_background

RUN = Path("runs/default/arch1-hyp1/fold0")


def predictions(path=RUN):
    return RunDirectory(path).predictions


def test_the_files_of_a_finished_run(train_command):
    status, out, err = train_command(*TINY)
    assert (status, err) == (0, "")
    assert out.startswith("arch1-hyp1 fold 0: accuracy ")
    assert len(out.splitlines()) == 1

    assert json.loads((RUN / "status.json").read_text())["state"] == "done"
    assert yaml.safe_load((RUN / "config.yaml").read_text())["model"]["net"]["width_multiplier"] == 0.03125
    metrics = json.loads((RUN / "metrics.json").read_text())
    expected = {"schema": 1, "study": "default", "model": "arch1-hyp1", "reading": "reported", "fold": 0, "folds": 2,
                "seed": 42, "epochs": 2, "steps": 4}  # fmt: skip
    assert {key: metrics[key] for key in expected} == expected
    assert metrics["val"]["count"] == metrics["train"]["count"] == 100
    assert metrics["environment"]["precision"] in ("float32", "bf16")
    assert metrics["train_seconds"] > 0
    assert metrics["training_operations"] > 2 * 100 * 6 * metrics["parameters"], "two epochs of 100 images"
    assert metrics["images_per_second"] == pytest.approx(200 / metrics["train_seconds"])

    with np.load(RUN / "predictions.npz") as arrays:
        index, label, logits = arrays["index"], arrays["label"], arrays["logits"]
    np.testing.assert_array_equal(index, np.random.RandomState(42).permutation(200)[:100])
    np.testing.assert_array_equal(label, draw(2, 0).fine[index])
    assert (logits.shape, logits.dtype) == ((100, 100), np.float32)
    assert metrics["val"]["accuracy"] == pytest.approx((logits.argmax(1) == label).mean())
    cross_entropy = -log_softmax(logits.astype(float), axis=1)[np.arange(100), label].mean()
    assert metrics["val"]["cross_entropy"] == pytest.approx(cross_entropy)

    rows = RunDirectory(RUN).history
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["val_accuracy"] == pytest.approx(metrics["val"]["accuracy"])
    assert rows[-1]["val_cross_entropy"] == pytest.approx(metrics["val"]["cross_entropy"], rel=1e-5)
    assert {row["learning_rate"] for row in rows} == {1e-4}
    assert not list(Path("runs").rglob("*.partial"))


def test_tensorboard_shows_curves_hparams_and_errors(finished, train_command):
    events = EventAccumulator(str(RUN), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    for stage in ("train", "val"):
        for metric in ("accuracy", "cross_entropy"):
            assert [e.step for e in events.Scalars(f"{stage}/{metric}")] == [1, 2]
    assert {"learning_rate", "images_per_second", "final/accuracy", "final/cross_entropy"} <= set(tags["scalars"])
    assert tags["images"] == ["most confident errors"]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_finished_run_is_skipped(finished, train_command):
    before = {path: path.stat().st_mtime_ns for path in RUN.rglob("*") if path.is_file() and path.name != ".lock"}
    status, out, _ = train_command(*TINY)
    assert status == 0
    assert out.startswith("skipped, already finished: arch1-hyp1 fold 0")
    assert before == {
        path: path.stat().st_mtime_ns for path in RUN.rglob("*") if path.is_file() and path.name != ".lock"
    }


def test_two_equal_runs_predict_the_same_bits(train_command):
    for study in ("a", "b"):
        assert train_command(*TINY, "reading=keep80", f"study={study}")[0] == 0
    a, b = (predictions(Path("runs") / study / "arch1-hyp1-keep80/fold0") for study in ("a", "b"))
    np.testing.assert_array_equal(a.logits, b.logits)


def test_a_run_killed_between_training_and_record_only_evaluates(finished, train_command):
    first = predictions()
    (RUN / "predictions.npz").unlink()
    (RUN / "metrics.json").unlink()
    (RUN / "status.json").write_text('{"state": "running"}')
    assert train_command(*TINY)[0] == 0
    np.testing.assert_array_equal(predictions().logits, first.logits)
    assert [row["epoch"] for row in RunDirectory(RUN).history] == [1, 2]


@pytest.mark.parametrize("keep", [False, True])
def test_a_finished_run_keeps_weights_and_the_optimiser_only_if_asked(keep, train_command):
    assert train_command(*TINY, f"keep_optimizer={keep}")[0] == 0
    checkpoint = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
    assert bool(checkpoint["optimizer_states"]) == keep
    assert sum(v.numel() for k, v in checkpoint["state_dict"].items() if k.startswith("net.")) > 0
    assert [path.name for path in (RUN / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_directory_of_another_configuration_is_refused(finished, train_command):
    status, _, err = train_command(*TINY, "learning_rate=1e-3", "trainer.max_epochs=3")
    assert status == 1
    assert "learning_rate (0.0001 there, 0.001 now), trainer.max_epochs (2 there, 3 now)" in err
    assert len(err.splitlines()) == 1
    assert train_command(*TINY, "keep_optimizer=true")[1].startswith("skipped"), "keys without effect may differ"


def test_another_limit_in_the_same_study_is_refused(finished, train_command):
    status, _, err = train_command(*TINY, "data.limit=50", "model=arch2")
    assert status == 1
    assert "compared on the same folds only" in err


def test_an_error_is_recorded_and_the_run_can_be_started_again(train_command, monkeypatch):
    from cifar100x.training import classify

    def broken(*_):
        raise RuntimeError("the machine broke")

    with monkeypatch.context() as patch:
        patch.setattr(classify, "evaluate", broken)
        with pytest.raises(RuntimeError):
            train_command(*TINY)
    status = json.loads((RUN / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", "the machine broke")
    assert train_command(*TINY)[0] == 0
    assert json.loads((RUN / "status.json").read_text())["state"] == "done"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fold=2", r"fold is 2, expected 0..1"),
        ("data.limit=1000", "data.limit is 1000, expected 2..200 (the images there are)"),
        ("data.batch_size=0", "data.batch_size is 0, expected 1..1000000"),
        ("trainer.precision=fp8", "trainer.precision is 'fp8', expected auto, float32 or bf16"),
        ("data.limit=1", "data.limit is 1, expected 2..200 (the images there are)"),
        ("trainer.max_epochs=0", "trainer.max_epochs is 0, expected 1..1000000"),
        ("seed=-1", "seed is -1, expected 0..4294967295"),
        ("width.multiplier=nan", "width.multiplier is nan, expected 1e-06..100"),
        ("folds.num=1000000", "folds.num is 1000000, expected 2..1000"),
        ("folds.repeats=2000000", "folds.repeats is 2000000, expected 1..1000"),
        ("learning_rate=nan", "learning_rate is nan, expected 0..1e+30"),
        ("rope=nan", "rope is nan, expected a fraction, from 0 to below 1 (0.01 is one point)"),
    ],
)
def test_impossible_values_are_one_line_and_leave_nothing(argument, message, train_command):
    status, out, err = train_command(*TINY, argument)
    assert (status, out) == (1, "")
    assert err == f"error: {message}\n"
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(train_command):
    status, _, err = train_command(*TINY, "trainer=gpu")
    assert status == 1
    assert "this machine has none that torch can use: choose trainer=cpu" in err


@pytest.mark.parametrize("argument", ["fold=5", "name=../x", "study=..", "trainer.precision=fp8"])
def test_what_is_wrong_by_itself_is_told_before_images_are_looked_at(argument, train_command):
    _, _, err = train_command("trainer=cpu", "data.source=nowhere.tar", argument)
    assert argument.partition("=")[0] in err
    assert "nowhere.tar" not in err


def test_a_link_that_leads_nowhere(train_command):
    Path("runs").symlink_to("gone/for/good")
    status, _, err = train_command(*TINY)
    assert (status, err.count("\n")) == (1, 1)
    assert "runs" in err


def test_data_that_cannot_be_read_leave_no_run(train_command, tmp_path):
    status, _, err = train_command("data.source=/nowhere/cifar.tar.gz")
    assert status == 1
    assert err.startswith("error: /nowhere/cifar.tar.gz does not exist")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_float32_on_request(train_command):
    assert train_command(*TINY, "trainer.precision=float32")[0] == 0
    assert RunDirectory(RUN).metrics["environment"]["precision"] == "float32"


def test_a_run_is_what_a_plain_loop_computes(train_command):
    """Five lines of PyTorch, no Lightning, the same seeds: the same logits."""
    arguments = [*TINY, "trainer.precision=float32", "data.batch_size=30", "learning_rate=1e-3"]
    assert train_command(*arguments)[0] == 0
    split, permutation = draw(2, 0), np.random.RandomState(42).permutation(200)
    held_out, training = permutation[:100], permutation[100:]
    images = torch.from_numpy(split.images).float() / 255
    labels = torch.from_numpy(split.fine)
    torch.manual_seed(derived_seed(42, 0))
    net = ConvNet(
        filters=[1, 2, 4, 4], dense=[32, 16, 8], convs_per_block=1, dropout=0.0, batch_norm="fixed", num_classes=100
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(2):
        order = np.random.default_rng([42, 0, epoch]).permutation(100)
        for batch in np.split(training[order], [30, 60, 90]):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    np.testing.assert_allclose(predictions().logits, net(images[held_out]).detach(), rtol=1e-4, atol=1e-6)


def test_only_float32_is_float32_on_a_gpu(train_command):
    """Torch would round the inputs of convolutions to 10 bits of mantissa."""
    for precision, rounds in (("bf16", True), ("float32", False)):
        assert train_command(*TINY, f"study={precision}", f"trainer.precision={precision}")[0] == 0
        assert torch.backends.cudnn.allow_tf32 == rounds


def test_two_processes_share_a_run(train_command, cache):
    """Two processes on a CPU, half of each batch each: the run of one process, up to the order of sums.

    Of 251 images held out one is left for the second batch, of which the second process has no share.
    """
    images = ("data.train_per_class=8", "folds.num=3", "data.limit=753")
    plain = [*TINY, *images, "trainer.precision=float32"]
    assert train_command(*plain, "study=one")[0] == 0
    with in_background([*plain, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"], cache) as process:
        out, err = process.communicate()
    assert (process.returncode, err, len(out.splitlines())) == (0, "", 1)
    one, two = (RunDirectory(Path(f"runs/{study}/arch1-hyp1/fold0")) for study in ("one", "default"))
    assert two.metrics["steps"] == one.metrics["steps"]
    assert [row["epoch"] for row in two.history] == [1, 2]
    for name in ("train_cross_entropy", "val_cross_entropy", "val_accuracy"):
        np.testing.assert_allclose([r[name] for r in two.history], [r[name] for r in one.history], rtol=1e-5)
    np.testing.assert_allclose(two.predictions.logits, one.predictions.logits, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("arguments", [[], ["-m", "fold=0,1"]])
def test_a_gpu_that_torch_cannot_use(arguments, train_command, monkeypatch):
    """The count of NVIDIA's driver alone, which is older than the wheel, makes no GPU."""

    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update it")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "init", init)
    status, out, err = train_command(*(a for a in TINY if a != "trainer=cpu"), *arguments)
    assert (status, out) == (1, "")
    assert err == (
        "error: torch cannot use this machine's GPU (The NVIDIA driver on your system is too old (found version "
        "11040).): update its driver, or choose trainer=cpu\n"
    )


def test_what_diverges_in_its_last_step_is_not_recorded(train_command):
    """The loss of the one step there is was a number; what it made of the weights is none."""
    code, _, err = train_command(*TINY, "trainer.max_epochs=1", "data.batch_size=200", "learning_rate=1e20")
    assert (code, "the network that was trained answers with no numbers" in err) == (1, True), err
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    assert (run.status["state"], run.metrics) == ("failed", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.devices=1000"], "trainer.devices is 1000, expected 1.."),
        (["trainer=ddp", "trainer.accelerator=cpu"], "trainer.devices is -1, expected 1.."),
        (["trainer.devices=2", "data.batch_size=7"], "a batch of 7 images has no 2 equal shares"),
        (["-m", "trainer.devices=2", "fold=0,1"], "trainer.devices is 2 in a sweep, which gives each job one device"),
    ],
)
def test_devices_that_cannot_share_a_run(arguments, message, train_command, monkeypatch):
    monkeypatch.setattr(machine, "num_cores", lambda: 4)
    status, out, err = train_command(*TINY, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert not list(Path("runs").rglob("status.json"))


def test_auto_is_the_precision_that_a_run_was_begun_in(train_command):
    """Whatever others of the study have by now."""
    named = [*TINY, "trainer.max_epochs=1"]
    assert train_command(*named, "name=b", "trainer.precision=bf16")[0] == 0
    assert train_command(*named, "name=a", "trainer.precision=float32")[0] == 0
    status, out, err = train_command(*named, "name=b", "trainer.precision=auto")
    assert (status, err) == (0, "")
    assert out.startswith("skipped, already finished")
