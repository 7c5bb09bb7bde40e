"""The page and the notebook do what they show."""

from __future__ import annotations

import json
import re

import pytest

import banksia


def test_the_page(root, stores, tmp_path, monkeypatch):
    """The Python blocks of docs/python.md run, in order."""
    pytest.importorskip("pandas")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    (tmp_path / "configs").symlink_to(root / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANKSIA", str(stores))
    blocks = re.findall(r"^```python\n(.*?)^```$", (root / "docs/python.md").read_text(), re.M | re.S)
    assert blocks
    names: dict = {"banksia": banksia}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)


def test_the_notebook(root, stores, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("BANKSIA", str(stores))
    notebook = nbformat.read(root / "python/examples/sweep.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_notebook_is_kept_without_outputs(root):
    cells = json.loads((root / "python/examples/sweep.ipynb").read_text())["cells"]
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in cells)
