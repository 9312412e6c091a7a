"""From a config to a job, without training it."""

import copy
from types import SimpleNamespace

import hydra
import numpy as np
import pytest
import torch
from torch import nn

from cifar100x.app.configs import CONF, plain
from cifar100x.app.jobs import all_folds, filled_in, make_job
from cifar100x.app.shares import normalises_batches
from cifar100x.errors import UserError
from tests.conftest import TINY


@pytest.fixture
def config_of(tmp_path, cache, monkeypatch):
    """The config of a command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR100X_CACHE", str(cache))

    def compose(*arguments):
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return plain(hydra.compose("train", [*TINY, *arguments]))

    return compose


FOUND = {
    "precision": "bf16",
    "devices": 2,
    "steps_at_once": 3,
    "data_fingerprint": "d",
    "num_train": 5,
    "encoder_fingerprint": "e",
    "num_classes": 7,
}


def test_what_is_found_takes_the_place_of_what_was_open(config_of):
    config = config_of()
    before = copy.deepcopy(config)
    filled = filled_in(config, **FOUND)
    assert config == before, "the config itself stays as it was"
    assert (filled["trainer"]["precision"], filled["trainer"]["devices"]) == ("bf16", 2)
    assert (filled["data"]["fingerprint"], filled["model"]["encoder_fingerprint"]) == ("d", "e")
    assert (filled["data"]["num_classes"], filled["model"]["net"]["num_classes"]) == (7, 7)
    assert filled_in(filled, **FOUND) == filled
    with pytest.raises(UserError, match="num_classes is 7, but the images have 8 classes"):
        filled_in(filled, **FOUND | {"num_classes": 8})


def test_decisions_belong_to_those_who_take_them(config_of):
    classifier, encoder = (filled_in(config_of(*a), **FOUND) for a in ((), ("model=autoencoder",)))
    assert {"fold", "folds", "reading", "width"} <= classifier.keys()
    assert not {"sparsity", "held_out"} & classifier.keys()
    assert {"sparsity", "held_out"} <= encoder.keys()
    assert not {"fold", "folds", "reading"} & encoder.keys()
    assert "filters" not in encoder["width"]


def test_nothing_is_written_before_a_job_is_trained(config_of, tmp_path):
    make_job(config_of())
    assert not (tmp_path / "runs").exists()


def test_devices_that_normalise_each_its_share_are_on_record(config_of):
    """Batch-norm of a share is another training; fixed statistics are the same wherever."""
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=20")
    for reading, shares in (("reported", None), ("keep80", 2)):
        config = make_job(config_of(*two, f"reading={reading}")).config
        assert config.get("norm_shares") == shares
        config["trainer"]["devices"] = 1
        assert "norm_shares" not in make_job(config).config
    assert "norm_shares" not in make_job(config_of("reading=keep80")).config


def test_a_network_that_asks_for_numbers_in_its_constructor_normalises_batches_too():
    state = torch.get_rng_state()

    def make_net():
        return nn.BatchNorm2d(3, momentum=torch.linspace(0.1, 0.2, 3)[1].item())

    assert normalises_batches(SimpleNamespace(make_net=make_net))
    assert torch.equal(torch.get_rng_state(), state)


def test_every_fold_has_seeds_of_its_own(config_of):
    """Those of the second repetition and those of the run on all images too, for weights and for batches."""
    learners = [make_job(config_of("folds.repeats=2", f"fold={fold}")).learner for fold in range(4)]
    learners.append(make_job(config_of() | {"fold": None}).learner)
    assert [learner.seed for learner in learners[:4]] == [(42, fold) for fold in range(4)]
    assert [learner.data.shuffle_seed for learner in learners] == [learner.seed for learner in learners]
    assert len({learner.seed for learner in learners}) == 5
    assert make_job(config_of("seed=7", "fold=1")).learner.seed == (7, 1)


def test_jobs_of_a_sweep_share_their_folds():
    """Those of other images, another cut or another limit are others."""
    labels = np.arange(100) % 10
    config = {"folds": {"num": 5, "seed": 1, "stratified": False, "repeats": 2}, "data": {"limit": None}}
    first = all_folds(labels, "some", config)
    assert all_folds(labels, "some", copy.deepcopy(config)) is first
    for change in ({"folds": config["folds"] | {"seed": 2}}, {"data": {"limit": 50}}):
        other = all_folds(labels, "some", config | change)
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert all_folds(labels, "others", config) is not first
