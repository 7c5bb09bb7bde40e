"""Settings as arguments, and experiments and sweeps as files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Union

import tomli_w

from ._program import PathLike

Settings = Union[Mapping[str, Any], Iterable[str]]
"""Keys and values, ``{"machine.memory.channels": 16}``, or texts, ``["machine.memory.channels=16"]``."""


def arguments(settings: Settings | None, of: object) -> list[str]:
    """The ``--set`` arguments of settings of an experiment or sweep; of a file, they name files beside it."""
    if settings is None:
        return []
    if isinstance(settings, str):
        settings = [settings]
    if isinstance(settings, Mapping):
        settings = [f"{key}={_value(_plain(value, key, isinstance(of, Mapping)))}" for key, value in settings.items()]
    return [word for setting in settings for word in ("--set", setting)]


@contextmanager
def experiment_file(experiment: PathLike | Mapping[str, Any]) -> Iterator[tuple[str, Path | None]]:
    """The file of an experiment, itself or a temporary one of a mapping, and the folder to run in.

    The name of a temporary file is without its folder, so that errors and kept results do not depend on that.
    """
    if not isinstance(experiment, Mapping):
        yield os.fspath(experiment), None
        return
    with TemporaryDirectory(prefix="banksia-") as folder:
        yield _write(Path(folder) / "experiment.toml", experiment), Path(folder)


@contextmanager
def sweep_file(sweep: PathLike | Mapping[str, Any]) -> Iterator[tuple[str, Path | None]]:
    """The same of a sweep; experiments of a mapping that are mappings are files beside it."""
    if not isinstance(sweep, Mapping):
        yield os.fspath(sweep), None
        return
    with TemporaryDirectory(prefix="banksia-") as name:
        folder = Path(name)
        written = dict(sweep)
        names: set[str] = set()
        for key in ("experiments", "sweeps"):
            if key not in sweep:
                continue
            written[key] = files = []
            for number, one in enumerate(sweep[key], start=1):
                if not isinstance(one, Mapping):
                    files.append(str(Path(one).absolute()))
                elif key == "sweeps":
                    raise TypeError("a sweep in `sweeps` must be a file")
                else:
                    file = folder / f"{_file_name(one, number, names)}.toml"
                    files.append(_write(file, one))
        yield _write(folder / "sweep.toml", written), folder


def _file_name(experiment: Mapping[str, Any], number: int, taken: set[str]) -> str:
    """A file's name for an experiment, after its own name, and no other's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(experiment.get("name", ""))).strip("-.")[:80]
    name = name or f"experiment-{number}"
    if name.lower() in taken or name.lower() == "sweep":
        name = f"{name}-{number}"
    taken.add(name.lower())
    return name


def _write(path: Path, table: Mapping[str, Any]) -> str:
    path.write_text(tomli_w.dumps(_plain(table, "")), encoding="utf-8")
    return path.name


def _plain(value: Any, key: str, here: bool = True) -> Any:
    """A value as TOML knows it: NumPy's numbers as Python's, files of the working directory with their whole path (the
    program would look for them beside a temporary file)."""
    if isinstance(value, Mapping):
        inner = ((str(k), v) for k, v in value.items())
        return {k: _plain(v, f"{key}.{k}" if key else k, here) for k, v in inner}
    if isinstance(value, (list, tuple, range)):
        return [_plain(v, key, here) for v in value]
    if isinstance(value, os.PathLike):
        return str(Path(value).absolute())
    if isinstance(value, str):
        named = here and value.endswith((".toml", ".json")) and Path(value).is_file()
        return str(Path(value).absolute()) if named else value
    if isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, columns of pandas
        return _plain(value.tolist(), key, here)
    if value is None:
        raise TypeError(f"`{key}` is None: leave the key out, TOML has no such value")
    raise TypeError(f"`{key}` is a {type(value).__name__}, which TOML has not")


def _value(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return tomli_w.dumps({"v": value})[len("v = ") :].rstrip("\n")


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).rsplit(" = ", 1)[0]
