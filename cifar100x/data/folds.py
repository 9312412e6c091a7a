"""The folds of cross-validation: which images are held out when."""

import numpy as np

from cifar100x.errors import UserError


def k_folds(
    labels: np.ndarray, num_folds: int, seed: int, limit: int | None = None, stratified: bool = False
) -> list[np.ndarray]:
    """Cut the permuted images into contiguous folds of (almost) equal size.

    Args:
        labels: (N,) classes; only their number matters unless `stratified`.
        num_folds: K, at least 2.
        seed: of `numpy.random.RandomState`, which permutes the images once.
        limit: keep only the first `limit` images of the permutation.
        stratified: give every fold the same share of each class, to within one image.

    Returns:
        K index arrays, disjoint, together the permuted (and limited) images, each in the order of the permutation.
    """
    if num_folds < 2:
        raise UserError(f"folds.num is {num_folds}, expected at least 2")
    if limit is not None and not num_folds <= limit <= len(labels):
        raise UserError(f"data.limit is {limit}, expected {num_folds}..{len(labels)} (the images there are)")
    order = np.random.RandomState(seed).permutation(len(labels))[:limit]
    if not stratified:
        return np.array_split(order, num_folds)
    by_class = np.argsort(labels[order], kind="stable")
    return [order[np.sort(by_class[fold::num_folds])] for fold in range(num_folds)]


def repeated_k_folds(
    labels: np.ndarray,
    *,
    num: int,
    repeats: int,
    seed: int,
    stratified: bool,
    seeds: int = 1,
    limit: int | None = None,
) -> list[np.ndarray]:
    """Cut folds several times, of permutations with the seeds `seed`, `seed + 1` and so on, one set after the other.

    Args:
        labels: as for `k_folds`; so are the others.
        num: K.
        repeats: how many permutations.
        seed: of the first.
        stratified: as for `k_folds`.
        seeds: how often each fold is to be trained; each set of K comes so many times before the next.
        limit: images of each permutation.
    """
    for name, count in (("repeats", repeats), ("seeds", seeds)):
        if count < 1:
            raise UserError(f"folds.{name} is {count}, expected at least 1")
    sets = [k_folds(labels, num, seed + repetition, limit, stratified) for repetition in range(repeats)]
    return [fold for folds in sets for _ in range(seeds) for fold in folds]
