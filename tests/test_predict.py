"""Images in, classes out: from one run and from the folds of a model together."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cifar100x import predict
from cifar100x.app.parts import make_net
from cifar100x.data.classes import CLASSES, COARSE_OF_FINE, SUPERCLASSES
from cifar100x.data.synthetic import draw
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import load_network, vote

MODEL = "runs/default/arch1-hyp1"


@pytest.fixture
def predict_command(command, compared_study):
    shutil.copytree(compared_study / "runs", "runs")
    return lambda *arguments: command(predict.main, *map(str, arguments))


def drawing(path: Path, index: int = 0) -> Path:
    Image.fromarray(draw(2, 0).images[index].transpose(1, 2, 0)).save(path)
    return path


def test_a_run_says_what_its_predictions_say(predict_command, tmp_path):
    recorded = RunDirectory(Path(MODEL) / "fold0").predictions
    image = drawing(tmp_path / "x.png", recorded.index[0])
    status, out, err = predict_command(f"{MODEL}/fold0", image, "--json", "--top", 100)
    assert (status, err) == (0, "")
    (found,) = json.loads(out).values()
    expected = torch.from_numpy(recorded.logits[0]).softmax(0)
    for answer in found:
        label = CLASSES.index(answer["class"])
        assert answer["superclass"] == SUPERCLASSES[COARSE_OF_FINE[label]]
        assert answer["probability"] == pytest.approx(expected[label].item(), rel=0.05)  # the run was in bfloat16
    assert [a["probability"] for a in found] == sorted((a["probability"] for a in found), reverse=True)
    assert sum(a["probability"] for a in found) == pytest.approx(1)


def test_the_folds_of_a_model_vote_with_their_mean_probability(predict_command, tmp_path):
    image = drawing(tmp_path / "x.png")
    status, out, _ = predict_command(MODEL, image, "--json", "--top", 100)
    assert status == 0
    pixels = torch.from_numpy(draw(2, 0).images[:1])
    nets = [load_network(RunDirectory(Path(MODEL) / f"fold{k}"), make_net) for k in (0, 1)]
    with torch.no_grad():
        mean = sum(net(pixels).softmax(1)[0] for net in nets) / 2
    (found,) = json.loads(out).values()
    assert {a["class"]: a["probability"] for a in found} == pytest.approx(
        {CLASSES[i]: p for i, p in enumerate(mean.tolist())}, abs=1e-6
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_images_of_any_size_and_mode(mode, predict_command, tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((70, 50, 3), 200, np.uint8)).convert(mode if mode != "I;16" else "L").convert(mode).save(
        path
    )
    status, out, err = predict_command(f"{MODEL}/fold0", path)
    assert (status, err) == (0, "")
    assert "x.tif" in out
    assert out.count("%") == 5


def test_over_confident_networks_give_no_class_a_probability_of_zero():
    """Logits 200 apart, as after fifty epochs: float32 would round the smaller probability to 0."""
    logits = torch.tensor([[200.0, 0.0]])
    (probabilities,) = vote([lambda _: logits], torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert probabilities.log().tolist() == pytest.approx([0, -200])


def test_a_photograph_is_turned_upright(tmp_path):
    """Orientation 3 means upside down."""
    tilted = Image.fromarray(np.vstack([np.zeros((32, 64, 3)), np.full((32, 64, 3), 255)]).astype(np.uint8))
    exif = tilted.getexif()
    exif[0x0112] = 3
    tilted.save(tmp_path / "x.png", exif=exif)
    upright = predict.read(tmp_path / "x.png")
    assert upright[:, 0].mean() > 250
    assert upright[:, -1].mean() < 5


def test_bad_input_is_one_line(predict_command, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    image = drawing(tmp_path / "y.png")
    for arguments, message in (
        ((f"{MODEL}/fold0", tmp_path / "none.png"), "none.png does not exist"),
        ((f"{MODEL}/fold0", tmp_path / "x.png"), "x.png is not a readable image (it is none of PNG, JPEG,"),
        (("runs/default", image), "runs/default is neither a run"),
        (("nowhere", image), "nowhere is neither a run"),
    ):
        status, out, err = predict_command(*arguments)
        assert (status, out) == (1, "")
        assert message in err
        assert len(err.splitlines()) == 1
    (Path(MODEL) / "fold1" / "status.json").write_text('{"state": "running"}')
    assert "fold1 is no finished run (its state is running)" in predict_command(MODEL, image)[2]
    assert predict_command(MODEL)[0] == 2
