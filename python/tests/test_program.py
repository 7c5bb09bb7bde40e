"""How the program is found, and its errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import banksia


def stub(path: Path, script: str) -> Path:
    """A program that is a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_order_in_which_it_is_looked_for(tmp_path, monkeypatch):
    argument = stub(tmp_path / "argument", "echo banksia 1.0.0 \\(0123456789ab\\)")
    variable = stub(tmp_path / "variable", "echo banksia 2.0.0")
    on_path = stub(tmp_path / "bin" / "banksia", "echo banksia 3.0.0")
    checkout = stub(tmp_path / "checkout" / "target" / "release" / "banksia", "echo banksia 4.0.0")
    (tmp_path / "checkout" / "cli").mkdir()
    (tmp_path / "checkout" / "cli" / "Cargo.toml").touch()
    inside = tmp_path / "checkout" / "docs"
    inside.mkdir()
    monkeypatch.chdir(inside)
    monkeypatch.setenv("BANKSIA", str(variable))
    monkeypatch.setenv("PATH", os.pathsep.join([str(on_path.parent), os.defpath]))
    assert banksia.version(argument) == "1.0.0"
    assert banksia.version() == "2.0.0"
    monkeypatch.delenv("BANKSIA")
    assert banksia.version() == "3.0.0"
    monkeypatch.setenv("PATH", os.defpath)
    assert banksia.find() == checkout
    assert banksia.version() == "4.0.0"


def test_where_there_is_none_the_error_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr("banksia._program.__file__", str(tmp_path / "package" / "_program.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BANKSIA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(banksia.NotFoundError, match="cargo build --release"):
        banksia.find()
    with pytest.raises(banksia.NotFoundError, match="argument `binary` names `nothing`"):
        banksia.find("nothing")
    monkeypatch.setenv("BANKSIA", "nowhere")
    with pytest.raises(banksia.NotFoundError, match="environment variable BANKSIA names `nowhere`"):
        banksia.find()


def test_exit_codes_are_exceptions(tmp_path):
    bad = stub(tmp_path / "bad", "echo a note >&2; echo 'error: f.toml:3: wrong' >&2; echo '  help: right' >&2; exit 2")
    with pytest.raises(banksia.InputError) as caught:
        banksia.run("f.toml", binary=bad)
    assert str(caught.value) == "f.toml:3: wrong\n  help: right"
    with pytest.raises(banksia.RunError, match="^no luck$"):
        banksia.run("f.toml", binary=stub(tmp_path / "failed", "echo 'error: no luck' >&2; exit 1"))
    with pytest.raises(banksia.RunError, match="exit code 7"):
        banksia.run("f.toml", binary=stub(tmp_path / "odd", "exit 7"))
    with pytest.raises(banksia.RunError, match="ended by SIGKILL"):
        banksia.run("f.toml", binary=stub(tmp_path / "killed", "kill -9 $$"))


def test_versions_agree(root, program):
    assert banksia.version(program) == banksia.__version__
    assert f'version = "{banksia.__version__}"' in (root / "pyproject.toml").read_text()
