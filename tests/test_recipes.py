"""Recipes from outside: what they change, that they resume to the same bits, and what carries them on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from cifar100x import compare, export, final, predict
from cifar100x.app.configs import CONF
from cifar100x.data.synthetic import draw
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.identity import PAPER
from tests.conftest import TINY, TINY_PRETRAINING, unseal

AVERAGING = (
    "recipe.averaging={_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.8}",
    "recipe.gradient_clip_val=1.0",
)


def run(study: str, name: str, fold: int = 0) -> RunDirectory:
    return RunDirectory(Path("runs", study, name, f"fold{fold}"))


def test_configs_without_a_recipe_mean_the_paper_s():
    assert yaml.safe_load((CONF / "recipe" / "paper.yaml").read_text())["recipe"] == PAPER


@pytest.mark.parametrize(("model", "name"), [("arch1", "arch1-hyp1-modern"), ("resnet20", "resnet20-modern")])
def test_modern_is_for_any_network(model, name, train_command):
    assert train_command(*TINY, f"model={model}", "recipe=modern", "study=s")[0] == 0
    found = run("s", name)
    rates = [row["learning_rate"] for row in found.history]
    assert rates[-1] < 1e-4 < rates[0] < 0.1, "a cycle of the whole run, by steps"
    assert found.metrics["recipe"] == "modern"
    config = found.config
    assert (config["learning_rate"], config["weight_decay"], config["data"]["batch_size"]) == (0.1, 5e-4, 128)
    if model == "arch1":
        assert (config["model"]["net"]["dropout"], config["model"]["net"]["batch_norm"]) == (0.2, "batch")
    else:
        assert "reading" not in config, "what nobody takes is not there"


def test_a_killed_run_resumes_to_the_same_bits_whatever_its_recipe(trained_and_killed, train_command):
    """Schedule, augmentation, dropout, momentum and averaged weights."""
    arguments = [*TINY, "recipe=modern", *AVERAGING, "trainer.max_epochs=4", "data.batch_size=10"]
    trained_and_killed(*arguments)
    killed = run("default", "arch1-hyp1-modern")
    whole = RunDirectory(Path("whole/default/arch1-hyp1-modern/fold0"))
    assert killed.status["state"] == "running"
    assert 1 <= len(killed.history) < 4
    assert train_command(*arguments)[0] == 0
    np.testing.assert_array_equal(killed.predictions.logits, whole.predictions.logits)
    for ours, theirs in zip(killed.history, whole.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_run_killed_before_it_is_evaluated_evaluates_its_averaged_weights(train_command, command, tmp_path):
    """And they are the only ones in the file of a finished run."""
    assert train_command(*TINY, *AVERAGING)[0] == 0
    finished = run("default", "arch1-hyp1")
    logits = finished.predictions.logits
    val = finished.history[-1]
    assert finished.metrics["val"]["cross_entropy"] == pytest.approx(val["val_cross_entropy"], rel=1e-3)
    checkpoint = torch.load(finished.checkpoint, weights_only=True)
    assert not {"current_model_state", "averaging_state"} & checkpoint.keys()
    for name in ("predictions.npz", "metrics.json"):
        (finished.path / name).unlink()
    (finished.path / "status.json").write_text('{"state": "running"}')
    assert train_command(*TINY, *AVERAGING)[0] == 0
    np.testing.assert_array_equal(finished.predictions.logits, logits)

    assert train_command(*TINY, "study=plain")[0] == 0
    assert not np.allclose(run("plain", "arch1-hyp1").predictions.logits, logits)


def test_two_candidates_that_differ_in_their_recipe_alone(train_command, command, tmp_path):
    """Through sweep, verdict, prediction, export and the final run: means and deviations of channels go along."""
    data = [argument for argument in TINY if "test_per_class" not in argument] + ["data.test_per_class=1"]
    recipe = ["recipe=paper,modern", "reading=keep80", "learning_rate=1e-3", "data.batch_size=50"]
    status, out, err = train_command(*data, "-m", *recipe, "fold=0,1", "study=s", "trainer.max_epochs=4")
    assert (status, err) == (0, "")
    assert "arch1-hyp1-modern fold 0" in out

    status, out, _ = command(compare.main, "study=s")
    assert status == 0
    assert "recipe" in out
    assert "it differs in more than one thing (" not in " ".join(out.split()), (
        "the reading modern comes with the recipe"
    )

    modern = run("s", "arch1-hyp1-modern")
    said = modern.predictions
    image = tmp_path / "image.png"
    Image.fromarray(draw(2, 0).images[said.index[0]].transpose(1, 2, 0)).save(image)
    status, out, err = command(predict.main, str(modern.path), str(image), "--json", "--top", "100")
    assert (status, err) == (0, "")
    names = json.loads((modern.path / "classes.json").read_text())["names"]
    probabilities = {found["class"]: found["probability"] for found in json.loads(out)[str(image)]}
    expected = torch.from_numpy(said.logits[0]).softmax(0)
    np.testing.assert_allclose([probabilities[name] for name in names], expected, rtol=0.05, atol=1e-3)

    assert command(export.main, str(modern.path), "exported")[0] == 0
    card = json.loads(Path("exported/card.json").read_text())
    images = draw(2, 0).images[np.random.RandomState(42).permutation(200)[100:]] / 255
    np.testing.assert_allclose(card["mean"], images.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(card["deviation"], images.std((0, 2, 3)), rtol=1e-5)
    assert "less `mean`" in card["safetensors"]
    assert not any(name.startswith("pixels") for name in load_file("exported/model.safetensors"))

    verdict = Path("runs/s/report/verdict.json")
    verdict.write_text(json.dumps(json.loads(verdict.read_text()) | {"chosen": "arch1-hyp1-modern"}))
    assert command(final.main, "study=s")[0] == 0
    of_all = RunDirectory(Path("runs/s/final"))
    assert of_all.metrics["recipe"] == "modern"
    assert of_all.history[-1]["learning_rate"] < 1e-6


OWN = """
# @package _global_
# Cosine, by epochs.
recipe:
  name: mine
  optimizer: {_target_: torch.optim.AdamW, betas: [0.9, 0.95]}
  schedule: {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: all epochs}
  augmentation:
    _target_: cifar100x.data.augmentation.Each
    transform: {_target_: torchvision.transforms.v2.RandomHorizontalFlip}
"""


def test_a_recipe_of_the_user_s_own(train_command):
    Path("conf/recipe").mkdir(parents=True)
    Path("conf/recipe/mine.yaml").write_text(OWN)
    assert train_command(*TINY, "--config-dir", "conf", "recipe=mine", "learning_rate=1e-3")[0] == 0
    assert [row["learning_rate"] for row in run("default", "arch1-hyp1-mine").history] == pytest.approx([1e-3, 5e-4])


HOSTILE = (
    {"recipe": {"augmentation": {"_target_": "os.system", "command": "touch hacked"}}},
    {"recipe": {"optimizer": {"_target_": "torch.optim.optimizer.torch.load", "f": "x"}}},
    {"callbacks": {"x": {"_target_": "subprocess.Popen", "args": ["touch", "hacked"]}}},
    {"logger": {"x": {"_target_": "lightning.pytorch.loggers.WandbLogger"}}},
)


def test_a_study_that_somebody_handed_over_calls_nothing(train_command, command):
    data = [argument for argument in TINY if "test_per_class" not in argument] + ["data.test_per_class=1"]
    assert train_command(*data, "-m", "fold=0,1", "study=s", "trainer.max_epochs=1")[0] == 0
    assert command(compare.main, "study=s")[0] == 0
    runs = [run("s", "arch1-hyp1", fold) for fold in (0, 1)]
    configs = [run.config | {"schema": 2} for run in runs]
    for change in HOSTILE:
        for each, config in zip(runs, configs, strict=True):
            unseal(each)
            changed = {part: config.get(part, {}) | values for part, values in change.items()}
            (each.path / "config.yaml").write_text(yaml.safe_dump(config | changed))
        status, _, err = command(final.main, "study=s")
        assert status == 1
        assert "which would be called: if you trust the package, say so" in err
        assert not Path("hacked").exists()


def test_an_encoder_that_is_frozen_encodes_anew_what_is_augmented(train_command):
    assert train_command(*TINY_PRETRAINING, "sparsity.weight=0")[0] == 0  # a code that says something of the image
    transfer = [*TINY, "candidate=t-arch2", "trainer.max_epochs=1", "learning_rate=1e-2"]
    assert train_command(*transfer)[0] == 0
    shift = "recipe.augmentation={_target_: cifar100x.data.augmentation.ShiftAndFlip}"
    assert train_command(*transfer, shift, "name=shifted")[0] == 0
    cached, shifted = (run("default", name) for name in ("t-arch2", "shifted"))
    assert not np.array_equal(cached.predictions.logits, shifted.predictions.logits), "it has seen other codes"
    assert shifted.metrics["training_operations"] > 2 * cached.metrics["training_operations"]
    status, _, err = train_command(*transfer, *AVERAGING, "name=averaged")
    assert status == 1
    assert "averages weights, which would change the frozen encoder of t-arch2 by rounding" in err
    encoder = RunDirectory(Path("runs/default/autoencoder"))
    before, after = (torch.load(r.checkpoint, weights_only=True)["state_dict"] for r in (encoder, shifted))
    for name, tensor in before.items():
        if name.startswith("net.encoder."):
            assert torch.equal(tensor, after[name]), "frozen"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*TINY_PRETRAINING, "recipe=modern"], 1, "autoencoder reconstructs images as they are and has no labels"),
        ([*TINY, "recipe.label_smoothing=2"], 1, "recipe.label_smoothing is 2, expected at least 0 and below 1"),
        ([*TINY, "recipe.label_smooth=0.1"], 2, "recipe.label_smooth: no such key; did you mean 'recipe.label_smoothi"),
        ([*TINY, "+recipe.optimizer.beta=1"], 2, "recipe.optimizer.beta: Adam takes no such argument; did you mean 'b"),
        ([*TINY, "recipe.optimizer._target_=torch.optim.Adamm"], 2, "torch.optim.Adamm cannot be imported"),
        ([*TINY, "recipe=modern", "recipe.schedule.total_steps=few"], 2, "total_steps is 'few', expected"),
        ([*TINY, "recipe.schedule={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau}"], 2, "by what the held-out"),
        ([*TINY, "recipe.averaging={_target_: lightning.pytorch.callbacks.Timer}"], 2, "Timer is no WeightAveraging"),
        ([*TINY, "-m", "recipe=modern", "reading=written", "fold=0,1"], 2, "recipe=modern has a reading of its own"),
        ([*TINY, "recipe=modren"], 2, "recipe=modren: no such choice; did you mean 'modern'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_before_anything_is_trained(arguments, status, message, train_command):
    found, out, err = train_command(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()


def test_a_study_of_before_there_were_recipes_goes_on(finished, train_command):
    unseal(run("default", "arch1-hyp1"))
    path = run("default", "arch1-hyp1").path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if key not in ("recipe", "logger")}))
    assert train_command(*TINY)[1].startswith("skipped, already finished")
    status, _, err = train_command(*TINY, "recipe.label_smoothing=0.1")
    assert status == 1
    assert "differing in recipe.label_smoothing (0.0 there, 0.1 now)" in err
    shutil.rmtree("runs")
