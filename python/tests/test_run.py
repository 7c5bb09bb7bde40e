"""Runs, sweeps and validation."""

from __future__ import annotations

import subprocess
import sys

import pytest
from test_program import stub

import banksia

SWEEP_STUB = r"""
folder=$(dirname "$0")
echo "$@" >> "$folder/calls"
case $1 in
    sweep) cp "$2" "$folder/sweep.toml"; touch "$4" ;;
    results) printf 'name,machine.kind,latency_s,error\na,none,0.5,\nb,,,too large\n' > "$4" ;;
esac
"""


def test_a_run_of_a_file(root, program):
    report = banksia.run(
        root / "configs/pim-gpt/gpt2-small.toml",
        set={"workload.generation.generated_tokens": 2, "machine.memory.channels": 16},
        binary=program,
    )
    assert report["latency_s"] > 0 and report["energy_j"] > 0
    assert sum(o["latency_s"] for o in report["operators"]) == pytest.approx(report["latency_s"])


def test_a_mapping_is_what_its_file_is(program, small, tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(
        'name = "small"\n[machine]\nbase = "pim-gpt"\n[workload]\nmodel = "gpt2-small"\n'
        "[workload.generation]\nprompt_tokens = 1\ngenerated_tokens = 2\n"
    )
    assert banksia.run(small, binary=program)["latency_s"] == banksia.run(str(file), binary=program)["latency_s"]


def test_detail_is_passed_on(program, small):
    small["machine"]["base"] = "h200"
    assert banksia.run(small, detail="exact", binary=program)["latency_s"] > 0
    with pytest.raises(banksia.InputError, match="detail"):
        banksia.run(small, detail="some", binary=program)


def test_a_machine_of_ones_own(program, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = subprocess.run([program, "show", "hardware", "pim-gpt"], capture_output=True, text=True, check=True)
    (tmp_path / "mine.toml").write_text(shown.stdout.replace('name = "pim-gpt"', 'name = "mine"'))
    small["machine"]["base"] = "mine.toml"
    assert banksia.run(small, binary=program)["machine"]["name"] == "mine"


def test_bad_input_says_what_would_be_right(program, small):
    with pytest.raises(banksia.InputError, match=r"did you mean `channels`\?"):
        banksia.run(small, set={"machine.memory.channel": 16}, binary=program)
    small["machine"]["memory"] = {"channels": 0}
    with pytest.raises(banksia.InputError, match=r"^experiment\.toml:\d+: "):
        banksia.run(small, binary=program)
    with pytest.raises(banksia.InputError, match=r"nowhere\.toml"):
        banksia.run("nowhere.toml", binary=program)


def test_what_a_sweep_calls_and_reads(small, tmp_path):
    pandas = pytest.importorskip("pandas")
    program = stub(tmp_path / "banksia", SWEEP_STUB)
    store = tmp_path / "kept.db"
    sweep = {"experiments": [small], "vary": [{"key": "machine.memory.channels", "values": [8, 16]}]}
    frame = banksia.sweep(sweep, store=store, jobs=2, set={"seed": 1}, binary=program)
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert f"--store {store} --set seed=1 --jobs 2" in first and first.startswith("sweep ")
    assert second.startswith(f"results {store} --export ")
    assert 'key = "machine.memory.channels"' in (tmp_path / "sweep.toml").read_text()
    assert store.exists()
    assert list(frame.columns) == ["name", "machine.kind", "latency_s", "error"]
    assert frame["machine.kind"][0] == "none" and pandas.isna(frame["machine.kind"][1])
    assert frame["latency_s"][0] == 0.5 and pandas.isna(frame["error"][0]) and frame["error"][1] == "too large"
    with pytest.raises(ValueError, match="as_ is"):
        banksia.sweep(sweep, binary=program, as_="list")


def test_a_sweep_as_arrow(small, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = banksia.sweep({"experiments": [small]}, binary=stub(tmp_path / "banksia", SWEEP_STUB), as_="arrow")
    assert isinstance(table, pyarrow.Table) and table.num_rows == 2


def test_a_sweep(stores, small, tmp_path):
    pytest.importorskip("pandas")
    sweep = {
        "name": "channels",
        "experiments": [small],
        "vary": [{"key": "machine.memory.channels", "values": [8, 16, 1000000000]}],
    }
    store = tmp_path / "results.db"
    frame = banksia.sweep(sweep, store=store, binary=stores)
    assert len(frame) == 3 and store.exists()
    assert len(banksia.sweep(sweep, store=store, binary=stores)) == 3, "a point that is there is not added again"
    assert frame["error"].dropna().tolist()[0].startswith("sweep.toml:"), "no temporary folder is in what is kept"
    good = frame[frame["error"].isna()].set_index("machine.memory.channels")
    assert good["latency_s"][16] < good["latency_s"][8]
    assert good["latency_s"][8] == banksia.run(small, binary=stores)["latency_s"]


def test_validation(program):
    frame = banksia.validate("pim", device="gddr6-aim", binary=program)
    assert set(frame["device"]) == {"gddr6-aim"} and (frame["mape_pct"] == 0).all() and frame["rows"].sum() > 50
    with pytest.raises(banksia.InputError, match="no-such-suite"):
        banksia.validate("no-such-suite", binary=program)


def test_without_pandas(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    program = stub(tmp_path / "banksia", SWEEP_STUB)
    with pytest.raises(ImportError, match="pandas"):
        banksia.sweep({"experiments": [small]}, binary=program)
    assert not (tmp_path / "calls").exists(), "the sweep had not begun"
