"""The program under test, the checkout, and what the program can do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import banksia

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def program() -> Path:
    """The program."""
    try:
        return banksia.find(os.environ.get("BANKSIA") or None)
    except banksia.NotFoundError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def stores(program: Path) -> Path:
    """The program, if it keeps the results of sweeps in a store."""
    for words in (["sweep", "--help"], ["results", "--help"]):
        done = subprocess.run([program, *words], capture_output=True, text=True)
        wanted = "--store" if words[0] == "sweep" else "--export"
        if done.returncode != 0 or wanted not in done.stdout:
            pytest.skip(f"this banksia has no `{words[0]} {wanted}` yet: results of sweeps cannot be read")
    return program


@pytest.fixture
def small() -> dict:
    """An experiment that takes milliseconds."""
    return {
        "name": "small",
        "machine": {"base": "pim-gpt"},
        "workload": {"model": "gpt2-small", "generation": {"prompt_tokens": 1, "generated_tokens": 2}},
    }
