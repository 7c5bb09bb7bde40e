"""The program's subcommands as functions."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, overload

from ._files import Settings, arguments, experiment_file, sweep_file
from ._program import PathLike, call

if TYPE_CHECKING:
    import pandas
    import pyarrow


def run(
    experiment: PathLike | Mapping[str, Any],
    *,
    set: Settings | None = None,
    detail: Literal["fast", "exact"] | None = None,
    binary: PathLike | None = None,
) -> dict[str, Any]:
    """Runs one experiment and returns its report.

    Args:
        experiment: a file, or the keys of one as nested mappings. A text in these that ends in ``.toml`` or ``.json``
            and is a file of the working directory stands for that file.
        set: values written over keys of the experiment, its machine or its device.
        detail: ``exact`` runs every wave of a GPU's large kernels, ``fast`` (the program's default) some of them.
        binary: the program; see :func:`find`.

    Returns:
        The report: ``latency_s``, ``energy_j``, ``operators`` and so on; docs/reports.md has the names.

    Raises:
        InputError: the experiment or a setting cannot be used.
        RunError: the run failed.
    """
    with experiment_file(experiment) as (file, folder):
        words = ["run", file, "--format", "json", *arguments(set, experiment)]
        if detail is not None:
            words += ["--detail", detail]
        report: dict[str, Any] = json.loads(call(words, binary, folder))
    return report


@overload
def sweep(
    sweep: PathLike | Mapping[str, Any],
    *,
    store: PathLike | None = ...,
    jobs: int | None = ...,
    set: Settings | None = ...,
    binary: PathLike | None = ...,
    as_: Literal["pandas"] = ...,
) -> pandas.DataFrame: ...


@overload
def sweep(
    sweep: PathLike | Mapping[str, Any],
    *,
    store: PathLike | None = ...,
    jobs: int | None = ...,
    set: Settings | None = ...,
    binary: PathLike | None = ...,
    as_: Literal["arrow"],
) -> pyarrow.Table: ...


def sweep(
    sweep: PathLike | Mapping[str, Any],
    *,
    store: PathLike | None = None,
    jobs: int | None = None,
    set: Settings | None = None,
    binary: PathLike | None = None,
    as_: Literal["pandas", "arrow"] = "pandas",
) -> pandas.DataFrame | pyarrow.Table:
    """Runs a sweep and returns a row for each of its points.

    Args:
        sweep: a file, or the keys of one: ``experiments`` (files, or experiments as mappings), ``vary``, ``point``.
        store: the file of results, kept; a temporary one without it. All results of the file are returned, those of
            earlier sweeps too.
        jobs: how many points run at once; the number of cores without it.
        set: values written over keys of every experiment.
        binary: the program; see :func:`find`.
        as_: ``pandas`` for a DataFrame, ``arrow`` for a Table of PyArrow.

    Returns:
        A column for every varied key under its whole dotted path, ``latency_s``, ``energy_j`` and so on, and ``error``
        where a point failed.

    Raises:
        InputError: the sweep or a setting cannot be used.
        RunError: no point has a result.
        ImportError: pandas or PyArrow is not installed.
    """
    if as_ not in ("pandas", "arrow"):
        raise ValueError(f"as_ is `pandas` or `arrow`, not `{as_}`")
    library = _library("pandas" if as_ == "pandas" else "pyarrow", as_)  # before a long run, not after it
    with sweep_file(sweep) as (file, folder), TemporaryDirectory(prefix="banksia-") as name:
        kept = Path(store).absolute() if store is not None else Path(name) / "results.db"
        table = Path(name) / "results.csv"
        words = ["sweep", file, "--store", str(kept), *arguments(set, sweep)]
        if jobs is not None:
            words += ["--jobs", str(jobs)]
        call(words, binary, folder)
        call(["results", str(kept), "--export", str(table)], binary)
        if as_ == "arrow":
            return importlib.import_module("pyarrow.csv").read_csv(table)
        # Words such as `none` are values; only an empty cell has none.
        return library.read_csv(table, keep_default_na=False, na_values=[""])


def validate(
    *suites: str,
    device: str | None = None,
    measured: PathLike | Iterable[PathLike] | None = None,
    binary: PathLike | None = None,
) -> pandas.DataFrame:
    """Compares the models with other simulators and with real kernels.

    Args:
        suites: their names, such as ``pim``; all of them without one, which takes long.
        device: only rows of this device.
        measured: files with the columns of the suites' own rows, in their place; one for each suite, in order.
        binary: the program; see :func:`find`.

    Returns:
        A row for each suite, device, operator and metric: ``rows`` compared, ``skipped``, ``mape_pct``,
        ``median_ape_pct``, ``p90_ape_pct``, ``bias_pct``, ``kendall_tau``, and in ``worst`` a list of the rows that err
        most.

    Raises:
        InputError: there is no such suite or device, or a file cannot be used.
        RunError: a suite failed.
        ImportError: pandas is not installed.
    """
    library = _library("pandas", "pandas")
    words = ["validate", *suites, "--format", "json"]
    if device is not None:
        words += ["--device", device]
    files = [measured] if isinstance(measured, (str, os.PathLike)) else measured or []
    for file in files:
        words += ["--measured", str(file)]
    table: pandas.DataFrame = library.DataFrame(json.loads(call(words, binary)))
    return table


def _library(name: str, extra: str) -> Any:
    """A library that is not required."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise ImportError(f"{name} is not installed: `pip install {name}`, or banksia with its extra `{extra}`") from e
