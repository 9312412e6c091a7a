"""A run that is there is asked for again: which choices make it another one."""

import copy

import pytest

from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory

OF_BOTH = {
    "seed": 42,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "data": {"fingerprint": "f", "num_train": 100, "batch_size": 50, "reshuffle": True, "limit": None, "source": "x"},
    "recipe": {
        "name": "modern",
        "optimizer": {"lr": 1},
        "schedule": {"max_lr": 0.1},
        "augmentation": {"pad": 4},
        "standardize": True,
        "label_smoothing": 0.1,
        "gradient_clip_val": None,
        "averaging": {"decay": 0.9},
    },
    "callbacks": {"stop": {"patience": 3}},
    "trainer": {"max_epochs": 5, "precision": "float32", "accelerator": "auto", "devices": 1},
    "cache": None,
    "runs": "runs",
}
CONFIGS = {
    "classification": OF_BOTH
    | {
        "task": "classification",
        "fold": 0,
        "folds": {"num": 5, "seed": 42, "stratified": False, "repeats": 1, "seeds": 1},
        "model": {"encoder": "e", "encoder_fingerprint": "e", "net": {"filters": [1, 2]}},
    },
    "pretraining": OF_BOTH
    | {
        "task": "pretraining",
        "held_out": 10,
        "sparsity": {"weight": 0.1},
        "divergence": {"weight": 0.1},
        "model": {"net": {"filters": [1, 2]}},
    },
}
ANOTHER_RUN = [
    "seed", "learning_rate", "weight_decay", "data.fingerprint", "data.num_train", "data.batch_size", "data.reshuffle",
    "data.limit", "model.net.filters", "recipe.optimizer.lr", "recipe.schedule.max_lr", "recipe.augmentation.pad",
    "recipe.standardize", "recipe.label_smoothing", "recipe.gradient_clip_val", "recipe.averaging.decay",
    "callbacks.stop.patience", "trainer.max_epochs", "trainer.precision", "norm_shares",
]  # fmt: skip
OF_TASK = {
    "classification": ["fold", "folds.num", "folds.seed", "folds.stratified", "model.encoder_fingerprint"],
    "pretraining": ["held_out", "sparsity.weight", "divergence.weight"],
}
THE_SAME_RUN = ["trainer.accelerator", "trainer.devices", "cache", "runs", "data.source"]


def with_another(config, key):
    config = copy.deepcopy(config)
    *path, last = key.split(".")
    node = config
    for name in path:
        node = node[name]
    node[last] = "another"
    return config


@pytest.fixture(params=CONFIGS)
def finished(request, tmp_path):
    """A finished run and its config, of each task."""
    run, config = RunDirectory(tmp_path / "s/a/fold0"), CONFIGS[request.param]
    with run.session(config):
        run.record({"model": "a", "fold": 0})
    return run, config


def test_a_choice_that_changes_the_result_makes_it_another(finished):
    run, config = finished
    for key in ANOTHER_RUN + OF_TASK[config["task"]]:
        with pytest.raises(UserError, match=rf"another configuration, differing in {key} \("):
            run.refuse_other_config(with_another(config, key))


def test_where_it_is_trained_and_what_is_read_from_where_does_not(finished):
    run, config = finished
    for key in THE_SAME_RUN:
        run.refuse_other_config(with_another(config, key))
