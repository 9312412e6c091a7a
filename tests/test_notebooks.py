"""Notebooks run from top to bottom on a study, and are kept without outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_changes_nothing(path, compared_study, cache, monkeypatch):
    study = compared_study / "runs/default"
    monkeypatch.setenv("CIFAR100X_CACHE", str(cache))
    monkeypatch.setenv("CIFAR100X_STUDY", os.fspath(study))
    before = {file: file.stat().st_mtime_ns for file in study.rglob("*") if file.is_file()}
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "is the one to choose" in printed
    assert any("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", []))
    assert before == {file: file.stat().st_mtime_ns for file in study.rglob("*") if file.is_file()}
