"""Run directories that commit a86da82 wrote, tiny ones: skipped, continued, compared, probed, predicted from.

The archive holds an image store, a finished study with its pre-training, comparison and final model (`done`), finished
transfer runs (`transfer`), and runs that were killed after one of 12 epochs (`half`) or 40 (`ending`, its final model).
All were trained in float32 with one thread.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cifar100x import compare, export, final, predict, probe, status
from cifar100x.runs import identity
from cifar100x.runs.directory import RunDirectory

ARCHIVE = Path(__file__).parent / "fixtures" / "runs-a86da82.tar.xz"
TINY = ("data=cifar100", "data.source=store", "folds.num=2", "trainer=cpu", "width.multiplier=0.015625",
        "trainer.precision=float32", "data.batch_size=10")  # fmt: skip
FINISHED = {
    "done/autoencoder": ("model=autoencoder", "held_out=20", "study=done"),
    "done/arch1-hyp1/fold1": ("candidate=arch1-hyp1", "reading=keep80", "fold=1", "study=done"),
    "done/arch2-hyp1/fold0": ("candidate=arch2-hyp1", "reading=keep80", "study=done"),
    "transfer/t-arch1/fold0": ("candidate=t-arch1", "reading=keep80", "study=transfer",
                               "model.encoder=runs/done/autoencoder"),
    "transfer/t-arch2/fold0": ("candidate=t-arch2", "reading=keep80", "study=transfer",
                               "model.encoder=runs/done/autoencoder"),
}  # fmt: skip
HALF = {
    "half/autoencoder": ("model=autoencoder", "held_out=20", "study=half"),
    "half/arch1-hyp1/fold0": ("candidate=arch1-hyp1", "reading=keep80", "study=half"),
    "half/t-arch1/fold0": ("candidate=t-arch1", "reading=keep80", "study=half", "model.encoder=runs/done/autoencoder"),
    "half/t-arch2/fold0": ("candidate=t-arch2", "reading=keep80", "study=half", "model.encoder=runs/done/autoencoder"),
}


@pytest.fixture
def earlier(tmp_path):
    """The archive, unpacked in the working folder of a test."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("run", FINISHED)
def test_finished_runs_are_skipped(run, earlier, train_command):
    before = (earlier / "runs" / run / "metrics.json").read_bytes()
    status, out, err = train_command(*TINY, "trainer.max_epochs=2", *FINISHED[run])
    assert (status, err) == (0, "")
    assert out.startswith("skipped, already finished")
    assert (earlier / "runs" / run / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("run", HALF)
def test_unfinished_runs_go_on(run, earlier, train_command):
    """They end with the numbers of a run that was never interrupted, up to the rounding of another machine."""
    arguments = (*TINY, "trainer.max_epochs=12", *HALF[run])
    first = RunDirectory(Path("runs") / run).history
    assert [row["epoch"] for row in first] == [1]
    assert train_command(*arguments)[0] == 0
    assert train_command(*arguments, "study=whole")[0] == 0
    ours = RunDirectory(Path("runs") / run)
    name, *fold = Path(run).parts[1:]
    whole = RunDirectory(Path("runs/whole", name if name == "autoencoder" else f"{name}-keep80", *fold))
    assert ours.history[0] == first[0], "the first epoch was not trained again"
    name = "train_reconstruction" if "autoencoder" in run else "train_cross_entropy"
    expected = [row[name] for row in whole.history]
    np.testing.assert_allclose([row[name] for row in ours.history], expected, rtol=1e-3)


def test_another_choice_is_still_another_choice(earlier, train_command):
    refused = (
        ("done/autoencoder", "sparsity.weight=0.1", "sparsity.weight (0.005 there, 0.1 now)"),
        ("done/autoencoder", "learning_rate=1e-3", "learning_rate (0.0001 there, 0.001 now)"),
        ("done/arch2-hyp1/fold0", "reading=reported", "weight_decay (0.001 there, 0.0 now)"),
    )
    for run, change, told in refused:
        chosen = [argument for argument in FINISHED[run] if not argument.startswith("reading=")]
        status, _, err = train_command(*TINY, "trainer.max_epochs=2", *chosen, change)
        assert status == 1
        assert told in err


def test_they_are_compared(earlier, command):
    before = json.loads((earlier / "runs/done/report/verdict.json").read_text())
    shutil.rmtree(earlier / "runs/done/report")
    code, _, err = command(compare.main, "study=done", "cache=.")
    assert (code, err) == (0, "")
    assert json.loads((earlier / "runs/done/report/verdict.json").read_text()).items() >= before.items()
    html = (earlier / "runs/done/report/report.html").read_text()
    assert 'id="confused-pairs"' in html, "the images were found"
    assert "paper: accuracy" in html
    assert "looked at once" in html


def test_old_and_new_runs_are_compared(earlier, train_command, command):
    """A third model, trained now, beside two that were trained then."""
    added = (*TINY, "trainer.max_epochs=2", "reading=keep80", "study=done", "candidate=arch1-hyp2", "-m", "fold=0,1")
    assert train_command(*added)[0] == 0
    code, out, err = command(compare.main, "study=done")
    assert (code, err) == (0, "")
    assert "arch1-hyp2" in out
    assert command(status.main, "study=done")[0] == 0


def test_their_networks_are_used(earlier, command):
    recorded = RunDirectory(Path("runs/transfer/t-arch2/fold0")).predictions
    pixels = np.load("store/images.npy")[recorded.index[0]]
    Image.fromarray(pixels.transpose(1, 2, 0)).save("x.png")
    logits = recorded.logits[0].astype(float)
    expected = np.exp(logits - logits.max())
    code, out, err = command(predict.main, "runs/transfer/t-arch2/fold0", "x.png", "--json", "--top", "100")
    assert (code, err) == (0, "")
    (classes,) = json.loads(out).values()
    probabilities = sorted((found["probability"] for found in classes), reverse=True)
    np.testing.assert_allclose(probabilities, np.sort(expected / expected.sum())[::-1], rtol=1e-4)
    assert command(export.main, "runs/done/final", "out")[0] == 0


def test_their_encoder_is_probed(earlier, command):
    code, _, err = command(probe.main, "study=done", "cache=.")
    assert (code, err) == (0, "")


def test_a_finished_final_model_is_not_looked_at_again(earlier, command):
    code, out, err = command(final.main, "cache=.", "study=done")
    assert (code, err) == (0, "")
    assert out.startswith("skipped, already finished")
    assert "looked at once" in out


def test_an_unfinished_final_model_goes_on(earlier, command):
    run = RunDirectory(Path("runs/ending/final"))
    assert [row["epoch"] for row in run.history] == [1]
    code, _, err = command(final.main, "cache=.", "study=ending")
    assert (code, err) == (0, "")
    assert [row["epoch"] for row in run.history] == list(range(1, 41))
    assert run.metrics["test_looks"] == 1


def test_configs_are_brought_up_to_date(earlier):
    """Keys that a task never read are gone; what was a default is there; all else stands."""
    configs = sorted((earlier / "runs").rglob("config.yaml"))
    assert len(configs) == 15
    for path in configs:
        old, new = yaml.safe_load(path.read_text()), RunDirectory(path.parent).config
        assert new["task"] == ("pretraining" if path.parent.name == "autoencoder" else "classification")
        assert new["weight_decay"] == old["reading"]["weight_decay"]
        assert ("fold" in new, "sparsity" in new) == (
            (True, False) if new["task"] == "classification" else (False, True)
        )
        assert new["data"]["md5"] == old["data"]["store"]["md5"]
        for name in ("seed", "learning_rate", "trainer", "study"):
            assert new[name] == old[name]
        assert identity.upgraded_config({"schema": identity.CONFIG_SCHEMA, **new}, "") == new


def test_what_a_later_version_wrote_is_refused(earlier, command):
    path = Path("runs/done/arch1-hyp1/fold0/config.yaml")
    path.write_text(f"schema: {identity.CONFIG_SCHEMA + 1}\n{path.read_text()}")
    code, _, err = command(compare.main, "study=done")
    assert code == 1
    assert "fold0 was written by a later version (schema 3, this one knows 2): update" in err
