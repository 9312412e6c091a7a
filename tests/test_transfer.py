"""Pre-training and transfer from outside: files, resuming, the encoder's way from one run into others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cifar100x.runs.directory import RunDirectory
from cifar100x.training import classify
from tests.conftest import TINY, TINY_PRETRAINING

ENCODER = Path("runs/default/autoencoder")
PREFIX = "net.encoder."


def weights(run, prefix=PREFIX):
    tensors = torch.load(RunDirectory(Path(run)).checkpoint, weights_only=True)["state_dict"]
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def test_the_files_of_a_pretraining(train_command):
    status, out, err = train_command(*TINY_PRETRAINING)
    assert (status, err) == (0, "")
    assert out.startswith("autoencoder: ")
    assert "reconstruction error " in out
    run = RunDirectory(ENCODER)
    assert run.status["state"] == "done"
    metrics = run.metrics
    expected = {"schema": 1, "study": "default", "model": "autoencoder", "seed": 42, "epochs": 2, "steps": 6}
    assert {key: metrics[key] for key in expected} == expected
    assert metrics["val"]["count"] == 50
    assert set(metrics["val"]) == {
        "reconstruction", "sparsity", "error_ratio", "mean_absolute_code", "active_units", "count"
    }  # fmt: skip
    rows = run.history
    assert [row["epoch"] for row in rows] == [1, 2]
    for name in ("reconstruction", "sparsity", "error_ratio", "mean_absolute_code", "active_units"):
        assert rows[-1][f"val_{name}"] == pytest.approx(metrics["val"][name], rel=1e-5)
    assert rows[-1]["train_reconstruction"] < rows[0]["train_reconstruction"]
    assert not (ENCODER / "predictions.npz").exists()
    assert train_command(*TINY_PRETRAINING)[1].startswith("skipped, already finished: autoencoder")


def test_tensorboard_shows_reconstructions_and_the_code(pretrained, train_command):
    events = EventAccumulator(str(ENCODER), size_guidance={"images": 0, "histograms": 0}).Reload()
    assert [e.step for e in events.Images("images and reconstructions")] == [1, 2]
    assert [e.step for e in events.Histograms("code")] == [1, 2]
    assert [e.step for e in events.Scalars("val/error_ratio")] == [1, 2]


def test_a_killed_pretraining_resumes_to_the_same_bits(trained_and_killed, train_command):
    arguments = [*TINY_PRETRAINING, "trainer.max_epochs=3", "data.batch_size=15"]
    trained_and_killed(*arguments)
    run = RunDirectory(ENCODER)
    assert torch.load(run.checkpoint, weights_only=True)["epoch"] + 1 == 1
    assert train_command(*arguments)[0] == 0
    assert len(run.metrics["sessions"]) == 2
    whole, resumed = weights("whole/default/autoencoder", "net."), weights(ENCODER, "net.")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert run.metrics["val"] == RunDirectory(Path("whole/default/autoencoder")).metrics["val"]


def test_a_collapsed_code_says_so(train_command):
    """Untrained, the reconstruction is far worse than the mean image."""
    status, out, _ = train_command(*TINY_PRETRAINING, "trainer.max_epochs=1", "learning_rate=0")
    assert status == 0
    assert out.startswith("autoencoder: COLLAPSED, the code says next to nothing about the image")
    assert RunDirectory(ENCODER).metrics["collapsed"] is True


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sparsity_reaches_the_loss(reduction, train_command):
    assert train_command(*TINY_PRETRAINING, f"sparsity.reduction={reduction}", "sparsity.weight=0.5")[0] == 0
    val = RunDirectory(ENCODER).metrics["val"]
    units = 64 if reduction == "sum" else 1
    assert val["sparsity"] == pytest.approx(0.5 * units * val["mean_absolute_code"], rel=1e-4)


def test_transfer_without_pretraining_names_the_command(train_command):
    status, out, err = train_command(*TINY, "model=transfer", "study=s")
    assert (status, out) == (1, "")
    assert err.startswith(
        "error: there is no pre-training in runs/s/autoencoder: make it with python -m cifar100x.train"
    )
    assert "experiment=pretrain-table1 study=s runs=runs, or name another with model.encoder=/path/to/run" in err
    assert not Path("runs").exists()
    assert "experiment=pretrain study=demo" in train_command("experiment=demo", "model=transfer")[2]


def test_transfer_on_an_unfinished_pretraining(pretrained, train_command):
    (ENCODER / "status.json").write_text('{"state": "running"}')
    status, _, err = train_command(*TINY, "model=transfer")
    assert status == 1
    assert "the pre-training in runs/default/autoencoder is running" in err


def test_frozen_is_bit_identical_and_retrained_is_not(pretrained, train_command):
    """Encoder weights and batch-norm statistics before and after a real fit."""
    before = weights(ENCODER)
    assert any("running_mean" in name for name in before)
    for frozen, name in ((True, "t-arch2"), (False, "t-arch1")):
        assert train_command(*TINY, "model=transfer", f"model.frozen={frozen}", "learning_rate=1e-3")[0] == 0
        after = weights(f"runs/default/{name}/fold0")
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before) == frozen
        metrics = RunDirectory(Path(f"runs/default/{name}/fold0")).metrics
        assert metrics["model"] == name
        assert metrics["parameters"] == sum(
            v.numel() for k, v in weights(f"runs/default/{name}/fold0", "net.").items()
            if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_codes_computed_once_give_what_the_plain_way_gives(pretrained, precision, train_command, monkeypatch):
    """The plain way sends every batch of images through the whole network in every epoch."""
    arguments = [*TINY, "model=transfer", "model.frozen=true", "learning_rate=1e-3", "reading.dropout=0.2",
                 f"trainer.precision={precision}", "model.encoder=runs/default/autoencoder"]  # fmt: skip
    assert train_command(*arguments, "study=codes")[0] == 0
    monkeypatch.setattr(classify, "CodeClassifier", classify.Classifier)
    monkeypatch.setattr(classify, "encode", lambda encoder, images, *_: images)
    monkeypatch.setattr(classify, "CODES", {})
    assert train_command(*arguments, "study=plain")[0] == 0
    codes, plain = (RunDirectory(Path(f"runs/{s}/t-arch2/fold0")).predictions.logits for s in ("codes", "plain"))
    tolerance = 1e-5 if precision == "float32" else 0.02  # bfloat16 rounds at 2^-8
    np.testing.assert_allclose(codes, plain, atol=tolerance * np.abs(plain).max())
    assert np.abs(codes - codes[0]).max() > 10 * tolerance * np.abs(plain).max(), "logits that tell images apart"


def test_images_are_encoded_once_for_all_folds_on_one_encoder(pretrained, train_command, monkeypatch):
    encoded, encode = [], classify.encode
    monkeypatch.setattr(classify, "encode", lambda *given: encoded.append(1) or encode(*given))
    monkeypatch.setattr(classify, "CODES", {})
    frozen = (*TINY, "model=transfer", "model.frozen=true", "trainer.max_epochs=1")
    assert train_command(*frozen, "-m", "fold=0,1")[0] == 0
    assert len(encoded) == 1
    assert train_command(*TINY_PRETRAINING, "name=other", "seed=1", "trainer.max_epochs=1")[0] == 0
    assert train_command(*frozen, "model.encoder=other")[0] == 0
    assert len(encoded) == 2, "another encoder has other codes"


def test_an_encoder_of_another_batch_norm_is_refused(train_command):
    """Its weights would fit, and be another function."""
    assert train_command(*TINY_PRETRAINING, "trainer.max_epochs=1", "model.batch_norm=fixed")[0] == 0
    status, out, err = train_command(*TINY, "model=transfer")
    assert (status, out) == (1, "")
    assert "autoencoder was pre-trained with model.batch_norm=fixed, but this model has batch: choose fixed" in err


def test_another_encoder_is_another_result(pretrained, train_command):
    assert train_command(*TINY_PRETRAINING, "study=other", "seed=1")[0] == 0
    transfer = [*TINY, "model=transfer", "model.frozen=true"]
    assert train_command(*transfer)[0] == 0
    config = yaml.safe_load(Path("runs/default/t-arch2/fold0/config.yaml").read_text())
    assert len(config["model"]["encoder_fingerprint"]) == 64
    status, _, err = train_command(*transfer, "model.encoder=runs/other/autoencoder")
    assert status == 1
    assert "holds a run of another configuration, differing in model.encoder_fingerprint" in err
    Path("runs/default/autoencoder").rename("runs/moved")
    assert "skipped" in train_command(*transfer, "model.encoder=runs/moved")[1], (
        "the same weights elsewhere are the same"
    )


def test_an_encoder_of_another_width_is_refused(pretrained, train_command):
    status, _, err = train_command(*TINY, "model=transfer", "width.multiplier=0.0625")
    assert status == 1
    assert "last.ckpt does not fit this encoder: " in err
    assert len(err.splitlines()) == 1


def test_a_classifier_cannot_serve_as_an_encoder(finished, train_command):
    status, _, err = train_command(*TINY, "model=transfer", "model.encoder=runs/default/arch1-hyp1/fold0")
    assert status == 1
    assert "runs/default/arch1-hyp1/fold0 is a classifier, and no pre-training of an encoder" in err


def test_too_many_held_out(train_command):
    status, _, err = train_command(*TINY_PRETRAINING, "held_out=200")
    assert (status, err) == (1, "error: held_out is 200, expected 1..199 (one image fewer than used)\n")
    assert not Path("runs").exists()


def test_metrics_name_where_images_come_from(train_command, real_data):
    source = real_data / "tiny-imagenet-200-sample.tar.gz"
    if not source.exists():
        pytest.skip(f"{source} is absent")
    real = ["data=imagenet32", f"data.source={source}", "data.limit=200", "trainer.max_epochs=1", "trainer=cpu"]
    assert train_command("model=autoencoder", "width.multiplier=0.03125", "held_out=50", *real)[0] == 0
    data = json.loads((ENCODER / "metrics.json").read_text())["data"]
    assert data["origins"] == {f"{source}: Tiny-ImageNet-200": 6000}


def test_an_encoder_a_fold(train_command, compare_command):
    """Then what is said holds for pre-training too, and the words that confine it to one encoder go.

    Who stands on an encoder that is not the study's own is called after it, and the report tells of all encoders.
    """
    for k in (0, 1):
        assert train_command(*TINY_PRETRAINING, f"name=ae-{k}", f"seed={k}", "trainer.max_epochs=1")[0] == 0
    transfer = [*TINY, "-m", "trainer.max_epochs=1", "model=transfer", "model.frozen=true"]
    own = ["fold=0,1", "model.encoder=ae-${fold}", "name=t-own"]
    assert train_command(*transfer, *own)[0] == 0
    assert train_command(*transfer, "fold=0,1", "model.encoder=ae-0")[0] == 0
    status, out, _ = compare_command("study=default")
    said = " ".join(out.split())
    assert status == 0
    assert "All said of t-arch2-ae-0 holds given this encoder" in said
    assert "one a fold" in said
    html = Path("runs/default/report/report.html").read_text()
    assert "Autoencoder ae-0" in html
    assert "Autoencoder ae-1" in html
    assert (
        train_command(*transfer, "folds.repeats=2", "fold=2,3", "model.encoder=ae-0", "name=t-own,t-arch2-ae-0")[0] == 0
    )
    status, _, err = compare_command("study=default")
    assert status == 1
    assert "stand on 2 encoders, expected one or one for each fold" in err


def test_a_variational_autoencoder_is_an_encoder_as_any_other(train_command):
    """Whatever stands on an encoder takes it unseen, and its collapse is told."""
    vae = ["experiment=pretrain", *TINY, "model=vae", "held_out=50", "study=default"]
    status, out, _ = train_command(*vae, "divergence.weight=10")
    assert status == 0
    assert "vae: COLLAPSED, the code says next to nothing about the image (try a smaller divergence.weight" in out
    run = RunDirectory(Path("runs/default/vae"))
    assert run.metrics["collapsed"]
    assert "sparsity" not in run.config, "which the experiment has for others"
    assert {"train_divergence", "val_divergence", "val_active_units"} <= run.history[0].keys()
    assert train_command(*TINY, "-m", "candidate=t-arch1,t-arch2", "model.encoder=vae", "fold=0")[0] == 0
    assert RunDirectory(Path("runs/default/t-arch2-vae/fold0")).is_done
    assert RunDirectory(Path("runs/default/t-arch1-vae/fold0")).is_done
    status, _, err = train_command(*vae, "divergence.weight=-1", "study=b")
    assert (status, err) == (1, "error: divergence.weight is -1, expected at least 0\n")
