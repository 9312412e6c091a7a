"""The embedded data set is what its documentation says."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from cifar100x.data.classes import COARSE_OF_FINE
from cifar100x.data.synthetic import draw, open_store


def store_of(cache, train, test, seed):
    return open_store(cache=cache, train_per_class=train, test_per_class=test, draw_seed=seed)


def test_deterministic_by_seed_and_distinct_by_split(tmp_path):
    store = store_of(str(tmp_path), 2, 1, 0)
    assert store.manifest["splits"] == {"train": 200, "test": 100}
    assert store.fingerprint == store_of(str(tmp_path / "again"), 2, 1, 0).fingerprint
    assert store.fingerprint != store_of(str(tmp_path), 2, 1, 1).fingerprint
    assert not np.array_equal(store.split("train").images[::2], store.split("test").images)
    assert store_of(str(tmp_path), 2, 0, 0).manifest["splits"] == {"train": 200}


def test_labels():
    split = draw(3, 0)
    assert np.bincount(split.fine).tolist() == [3] * 100
    assert split.coarse.tolist() == [COARSE_OF_FINE[label] for label in split.fine]


def test_pixels_alone_tell_little():
    """Multinomial logistic regression on pixels stays under 30% on images it has not seen, and above chance."""
    train, test = draw(40, 0), draw(10, 0, stream=1)
    pixels = [
        split.images.reshape(len(split.images), -1) / np.float32(255) - np.float32(0.5) for split in (train, test)
    ]
    accuracy = LogisticRegression(C=1e-3, max_iter=60).fit(pixels[0], train.fine).score(pixels[1], test.fine)
    assert 0.01 < accuracy < 0.30
