"""A race from outside: who leaves, what is trained, what is said of it, and that an early leaver can be trained after
all."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cifar100x import compare, status
from cifar100x.runs.directory import RunDirectory
from cifar100x.sweep.racing import Race
from tests.conftest import TINY

RACE = ("-m", "model=seeing,blind", "fold=0,1,2", "study=race", "race=0.05")
RUNS = Path("runs/race")
NETWORKS = """
import torch
from torch import nn


class Seeing(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


class Blind(Seeing):
    def forward(self, x):
        return super().forward(0 * x)
"""


@pytest.fixture
def two_colours(command, tmp_path) -> tuple[str, ...]:
    """Red and blue images, and two networks: one that tells them apart, one that takes all for the same."""
    Path("eyes.py").write_text(NETWORKS)
    Path("conf/model").mkdir(parents=True)
    for name in ("seeing", "blind"):
        net = {"_target_": f"eyes.{name.capitalize()}", "num_classes": "${data.num_classes}"}
        Path(f"conf/model/{name}.yaml").write_text(json.dumps({"name": name, "net": net}))
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        Path("colours", name).mkdir(parents=True)
        for i in range(30):
            Image.new("RGB", (32, 32), (*colour[:2], colour[2] + i)).save(f"colours/{name}/{i}.png")
    return (
        "--config-dir", "conf", "data=images", "data.source=colours", "data.batch_size=10", "folds.num=3",
        "folds.stratified=true", "trainer=cpu", "trainer.max_epochs=10", "learning_rate=0.1",
    )  # fmt: skip


def swept(out: str) -> list[str]:
    return [line.split(":")[0] for line in out.splitlines() if "cross-entropy" in line]


def state(candidate: str, fold: int) -> str | None:
    return RunDirectory(RUNS / candidate / f"fold{fold}").status.get("state")


def test_a_race(train_command, command, two_colours):
    status_, out, err = train_command(*two_colours, *RACE)
    assert (status_, err) == (0, "")
    assert swept(out) == [f"{name} fold {fold}" for name, fold in
                          (("seeing", 0), ("seeing", 1), ("blind", 0), ("blind", 1), ("seeing", 2))]  # fmt: skip
    assert "blind is eliminated after 2 of 3 folds: 50.0 points behind seeing" in out
    assert "race: 1 of 6 runs and 17% of the operations were saved" in out
    assert "race: 5 done, 1 eliminated" in out
    assert state("blind", 2) == "eliminated"
    (RUNS / "seeing/fold2/metrics.json").unlink()
    assert train_command(*two_colours, *RACE)[0] == 0
    assert RunDirectory(RUNS / "seeing/fold2").is_whole, "the same command makes anew what is gone"

    status_, out, _ = command(status.main, "study=race")
    assert (status_, "go on with" in out) == (0, False), "nothing is left to do"

    status_, out, err = command(compare.main, "study=race")
    assert (status_, err) == (0, "")
    said = " ".join(out.split())
    assert "seeing is the one to choose: all others were eliminated, and it classifies 100.0%" in said
    assert "blind after 2 folds, 50.0 points behind seeing (chance to overtake it 0.0" in said
    with (RUNS / "report/eliminated.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["folds"], float(row["accuracy"]), float(row["lead"])) == ("blind", "2", 0.5, 0.5)
    assert json.loads((RUNS / "report/verdict.json").read_text())["eliminated"] == ["blind"]
    assert (
        '<th scope="row">blind</th><td>2</td><td>50.0%</td><td>+50.00</td>' in (RUNS / "report/report.html").read_text()
    )

    again = train_command(*two_colours, *RACE)
    assert (again[0], swept(again[1])) == (0, []), "a race that is over stays over"

    status_, out, _ = train_command(*two_colours, *RACE[:-1])
    assert (status_, swept(out)) == (0, ["blind fold 2"]), "trained after all"
    assert command(compare.main, "study=race")[0] == 0
    verdict = json.loads((RUNS / "report/verdict.json").read_text())
    assert (verdict["eliminated"], verdict["pairs_tested"]) == ([], 1)


def test_the_baseline_stays(train_command, two_colours):
    status_, out, _ = train_command(*two_colours, *RACE, "baseline=blind")
    assert (status_, len(swept(out))) == (0, 6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["race=0.1"], "race is between the candidates of a sweep: add -m"),
        (["-m", "race=1", "fold=0,1"], "race is 1, expected a chance above 0 and below 1"),
        (["-m", "race=0.1", "fold=0,1"], "race=0.1 with 2 folds: candidates leave from the second on and before"),
        (
            ["-m", "race=0.1", "folds.repeats=2", "fold=0,1,2", "seed=1,2", "study=of${seed}"],
            "in one study",
        ),
        (["-m", "race=0.1,0.2", "fold=0,1", "name=at${race}"], "race has several values in one sweep"),
    ],
)
def test_what_cannot_race_is_refused(overrides, message, train_command):
    status_, _, err = train_command(*TINY, *overrides)
    assert status_ == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()


def test_a_race_that_was_stopped_goes_on_as_if_it_had_not_been():
    """Folds that are there of a later round, of some only, have no say in an earlier one."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        undisturbed = rng.normal([0.5, 0.48, 0.46, 0.44], 0.02, (5, 4)).T
        undisturbed[:, 3:] = np.nan
        stopped = undisturbed.copy()
        stopped[rng.random(4) < 0.5, 3] = 0.5
        assert eliminations_of(stopped, 3) == eliminations_of(undisturbed, 3)


def eliminations_of(accuracies, num_folds):
    """What a race says after a round whose runs have these accuracies (M, N), nan where there are none."""

    def job(candidate, fold):
        value = accuracies[candidate, fold]
        run = SimpleNamespace(
            path=Path(f"c{candidate}/fold{fold}"),
            is_done=not np.isnan(value),
            metrics={"val": {"accuracy": value, "count": 100}},
        )
        return SimpleNamespace(job=SimpleNamespace(run=run, folds=(), study=study), config={"fold": fold})

    study = SimpleNamespace(path=Path(), agreement=SimpleNamespace(terms=None))
    jobs = [job(candidate, fold) for candidate, fold in np.ndindex(accuracies.shape)]
    return Race(jobs, 0.2)._eliminations(num_folds)
