"""Runs Banksia, a cycle-accurate simulator of the machines that run transformers, and reads what it says.

Nothing is simulated here: every function calls the `banksia` program and returns what it prints as JSON or CSV.

    >>> import banksia
    >>> report = banksia.run("configs/pim-gpt/gpt2-small.toml", set={"machine.memory.channels": 16})
    >>> report["latency_s"]
"""

from ._files import Settings
from ._program import BanksiaError, InputError, NotFoundError, RunError, find, version
from ._run import run, sweep, validate

__version__ = "0.1.0"

__all__ = [
    "BanksiaError",
    "InputError",
    "NotFoundError",
    "RunError",
    "Settings",
    "find",
    "run",
    "sweep",
    "validate",
    "version",
]
