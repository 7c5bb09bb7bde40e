"""Settings, experiments and sweeps as the program gets them, without the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from banksia._files import arguments, experiment_file, sweep_file


def test_settings_are_toml_values():
    settings = {"a.b": 16, "c": True, "d": 0.5, "e": "h200", "f": [1, 2], "g": {"k.l": 'say "x"'}, "h": "16"}
    assert arguments(settings, {})[1::2] == [
        "a.b=16",
        "c=true",
        "d=0.5",
        'e="h200"',
        "f=[1, 2]",
        'g={ "k.l" = "say \\"x\\"" }',
        'h="16"',
    ]
    assert arguments(["a=1", "b=x"], {}) == ["--set", "a=1", "--set", "b=x"]
    assert arguments("a=1", {}) == ["--set", "a=1"]
    assert arguments(None, {}) == []


def test_a_mapping_becomes_a_file_that_does_not_stay(small):
    with experiment_file(small) as (file, folder):
        assert file == "experiment.toml"
        text = (folder / file).read_text()
        assert "[workload.generation]" in text and "generated_tokens = 2" in text
    assert not folder.exists()


def test_a_file_is_taken_as_it_is():
    with experiment_file("some/experiment.toml") as found:
        assert found == ("some/experiment.toml", None)
    with sweep_file(Path("some/sweep.toml")) as found:
        assert found == ("some/sweep.toml", None)


def test_numbers_of_numpy_are_numbers(small):
    numpy = pytest.importorskip("numpy")
    small["workload"]["generation"]["batch"] = numpy.int64(3)
    with experiment_file(small) as (file, folder):
        assert "batch = 3\n" in (folder / file).read_text()
    sweep = {"experiments": [small], "vary": [{"key": "k", "values": numpy.array([0.5, 2.0])}]}
    with sweep_file(sweep) as (file, folder):
        assert "0.5,\n" in (folder / file).read_text().replace(" ", "")


def test_files_are_found_from_the_working_directory(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("")
    small["machine"]["base"] = "mine.toml"
    with experiment_file(small) as (file, folder):
        assert str(tmp_path / "mine.toml") in (folder / file).read_text()
    assert arguments({"machine.base": "mine.toml"}, small) == ["--set", f'machine.base="{tmp_path / "mine.toml"}"']
    # Beside a file, the program finds it itself.
    assert arguments({"machine.base": "mine.toml"}, "other/e.toml") == ["--set", 'machine.base="mine.toml"']


def test_what_toml_has_not_is_refused(small):
    small["machine"]["channels"] = None
    with pytest.raises(TypeError, match=r"`machine\.channels` is None"), experiment_file(small):
        pass
    small["machine"]["channels"] = object()
    with pytest.raises(TypeError, match=r"`machine\.channels` is a object"), experiment_file(small):
        pass


def test_experiments_of_a_sweep_are_written_beside_it(small):
    other = {**small, "name": "another / one"}
    nameless = {k: v for k, v in small.items() if k != "name"}
    sweep = {"experiments": [small, other, nameless, small, "configs/pim-gpt/gpt2-small.toml"]}
    with sweep_file(sweep) as (file, folder):
        names = sorted(f.name for f in folder.iterdir())
        assert names == ["another-one.toml", "experiment-3.toml", "small-4.toml", "small.toml", "sweep.toml"]
        text = (folder / file).read_text()
        assert '"another-one.toml"' in text and str(Path("configs/pim-gpt/gpt2-small.toml").absolute()) in text
    with pytest.raises(TypeError, match="must be a file"), sweep_file({"sweeps": [{}]}):
        pass
