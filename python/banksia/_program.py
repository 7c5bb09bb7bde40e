"""Finds the `banksia` program, calls it, and turns its exit codes into exceptions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Union

PathLike = Union[str, "os.PathLike[str]"]

BINARY_VARIABLE = "BANKSIA"
"""The environment variable that names the program."""


class BanksiaError(Exception):
    """The program could not do what was asked; the text is its own message."""


class NotFoundError(BanksiaError, FileNotFoundError):
    """There is no `banksia` program where it was looked for."""

    def __str__(self) -> str:
        return str(self.args[0])


class InputError(BanksiaError, ValueError):
    """Bad input (exit code 2): the message names file and line or setting, the key, and what would be right."""


class RunError(BanksiaError, RuntimeError):
    """The input was good and the run failed (exit code 1, or a signal)."""


def find(binary: PathLike | None = None) -> Path:
    """The path of the `banksia` program.

    It is the first of: ``binary``; what the environment variable ``BANKSIA`` names; ``banksia`` on the ``PATH``; and
    ``target/release/banksia`` of the checkout that holds the working directory or this package.

    Raises:
        NotFoundError: none of these is a program; the message says how to build it.
    """
    named = binary if binary is not None else os.environ.get(BINARY_VARIABLE) or None
    if named is not None:
        found = shutil.which(os.fspath(named))
        if found is None:
            origin = "the argument `binary`" if binary is not None else f"the environment variable {BINARY_VARIABLE}"
            raise NotFoundError(f"{origin} names `{os.fspath(named)}`, which is not a program. {_HOW}")
        return Path(found).absolute()
    on_path = shutil.which("banksia")
    if on_path is not None:
        return Path(on_path).absolute()
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "cli" / "Cargo.toml").is_file():
                built = shutil.which(folder / "target" / "release" / "banksia")
                if built is not None:
                    return Path(built)
    raise NotFoundError(f"the program `banksia` was not found. {_HOW}")


_HOW = (
    "Build it with `cargo build --release` in a checkout of Banksia, then give target/release/banksia as `binary` "
    f"or in the environment variable {BINARY_VARIABLE}, or put it on the PATH."
)


def version(binary: PathLike | None = None) -> str:
    """The version of the program that would be run, as in ``0.1.0``."""
    return call(["--version"], binary).split()[1]  # banksia 0.1.0 (commit)


def call(arguments: Sequence[str], binary: PathLike | None = None, folder: PathLike | None = None) -> str:
    """What the program prints on standard output for these arguments, in a folder.

    Raises:
        InputError: exit code 2.
        RunError: any other exit code but 0.
    """
    done = subprocess.run(
        [str(find(binary)), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode == 0:
        return done.stdout
    if done.returncode == 2:
        raise InputError(_message(done.stderr))
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        raise RunError(f"banksia was ended by {name}. {done.stderr.strip()}".strip())
    raise RunError(_message(done.stderr) or f"banksia ended with exit code {done.returncode}")


def _message(printed: str) -> str:
    """The error among what was printed on standard error, without the notes that precede it."""
    lines = printed.strip().splitlines()
    for i, line in enumerate(lines):
        if line.startswith("error: "):
            return "\n".join([line[len("error: ") :], *lines[i + 1 :]])
    return printed.strip()
