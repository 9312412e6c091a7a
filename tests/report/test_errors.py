"""Figures show what they say."""

import numpy as np

from cifar100x.report.errors import most_confident_errors


def titles(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_errors_are_shown_most_confident_first():
    names = ["cat", "dog", "owl"]
    logits = np.array([[9.0, 0, 0], [0, 3, 0], [0, 0, 6], [2, 0, 0]], np.float32)
    labels = np.array([0, 0, 1, 2])  # the first is right, the others are wrong with growing, then falling confidence
    figure = most_confident_errors(np.zeros((4, 3, 32, 32), np.uint8), labels, logits, names, rows=1, columns=4)
    assert titles(figure) == ["owl 100%\nis dog", "dog 91%\nis cat", "cat 79%\nis owl"]


def test_a_dollar_in_the_name_of_a_class_is_a_dollar():
    images, labels = np.zeros((1, 3, 32, 32), np.uint8), np.array([1])
    most_confident_errors(images, labels, np.array([[1.0, 0]]), ["a$_$", "$$"]).canvas.draw()


def test_no_errors_no_images():
    figure = most_confident_errors(np.zeros((1, 3, 32, 32), np.uint8), np.array([0]), np.array([[1.0, 0]]), ["a", "b"])
    assert titles(figure) == []
