"""TOML configurations: inheritance, overrides, and errors that say where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pylib.corpus.errors import UserError
from pylib.training.config import differences, from_dict, load_config

CONF = Path(__file__).resolve().parents[2] / "egs" / "librispeech" / "conf"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_later_files_and_overrides_win(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", "[model]\ndim = 64\nheads = 4\n[optim]\nlr = 1e-3\n")
    path = write(tmp_path, "child.toml", 'extends = "base.toml"\n[model]\nheads = 8\n')
    config = load_config(path, ["optim.betas=[0.8, 0.9]", "model.frontend=fbank"]).config
    assert (config.model.dim, config.model.heads, config.optim.lr) == (64, 8, 1e-3)
    assert config.optim.betas == (0.8, 0.9)
    assert config.model.frontend == "fbank"


def test_several_parents_the_later_wins(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", "[model]\ndim = 64\nheads = 4\n")
    write(tmp_path, "b.toml", "[model]\nheads = 2\n[targets]\nclusters = 7\n")
    path = write(tmp_path, "c.toml", 'system = "ctc"\nextends = ["a.toml", "b.toml"]\n')
    config = load_config(path).config
    assert (config.model.dim, config.model.heads) == (64, 2)


def test_several_files_the_later_wins(tmp_path: Path) -> None:
    """As if each extended those before it: what the system does not read is then no error."""
    first = write(tmp_path, "a.toml", 'system = "fhvae"\n[fhvae]\nhidden = 64\nlayers = 1\n')
    second = write(tmp_path, "b.toml", "[fhvae]\nlayers = 3\n[objective]\nalpha = 0.5\n")
    config = load_config([first, second], ["objective.contrast=supcon"]).config
    assert config.fhvae is not None and config.objective is not None
    assert (config.fhvae.hidden, config.fhvae.layers) == (64, 3)
    assert (config.objective.alpha, config.objective.contrast) == (0.5, "supcon")
    assert config.model is None and config.data is None
    assert from_dict(config.as_dict(), "checkpoint") == config
    third = write(tmp_path, "c.toml", 'system = "ctc"\n')
    assert load_config([first, third]).config.fhvae is None
    with pytest.raises(UserError, match="has no section .fhvae."):
        load_config([third, first, third, write(tmp_path, "d.toml", "[fhvae]\nhidden = 2\n")])


def test_segments_that_make_no_sense(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", 'system = "fhvae"\n[segments]\nspeakers = 1\n')
    assert "[segments]: batches of 1 speakers" in refusal(path)
    path = write(tmp_path, "b.toml", 'system = "fhvae"\n[segments]\ncached = 20\n')
    assert "cached = 20 utterances do not hold one batch of 16 x 4" in refusal(path)


@pytest.mark.parametrize("value", ["3", "[3]", "true"])
def test_extends_names_files(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "a.toml", f"\nextends = {value}\n")
    assert "a.toml:2: extends: expected the name of a file" in refusal(path)


def test_round_trip_and_hash(tmp_path: Path) -> None:
    config = load_config(None, ["optim.lr=1"]).config
    assert isinstance(config.optim.lr, float)
    again = from_dict(config.as_dict(), "checkpoint")
    assert again == config
    assert again.hash() == config.hash()
    assert load_config(None, ["optim.lr=2"]).config.hash() != config.hash()
    assert load_config(None, ["optim.lr=1", "run.log_every=7"]).config.hash() == config.hash()


def test_unknown_key_names_nearest_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", "[model]\ndim = 64\n[optim]\nlearning_rte = 1\nupdats = 3\n")
    assert f"{path}:4: unknown key optim.learning_rte" in refusal(path)
    path = write(tmp_path, "b.toml", "[optim]\nupdats = 3\n")
    assert "b.toml:2: unknown key optim.updats: did you mean optim.updates?" in refusal(path)


def test_key_of_another_section_is_pointed_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", "[model]\nbatch_seconds = 3\n")
    assert "did you mean data.batch_seconds?" in refusal(path)


def test_unknown_section(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", "\n[modle]\ndim = 3\n")
    assert "a.toml:3: unknown section or key 'modle': did you mean model?" in refusal(path)
    assert "unknown section or key 'sistem': did you mean system?" in refusal(
        write(tmp_path, "b.toml", 'sistem = "ctc"\n')
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[model]\ndim = 64.0\n", "expected a whole number"),
        ('[model]\ndim = "64"\n', "expected a whole number"),
        ("[optim]\nlr = true\n", "expected a number"),
        ("[data]\nnormalise = 1\n", "expected true or false"),
        ('[data]\ncrop = "middle"\n', "expected one of start, random_aligned"),
        ("[optim]\nbetas = [0.9]\n", "expected a list of 2 values"),
        ("[optim]\nbetas = 0.9\n", "expected a list"),
        ("[model]\nfrontend = 3\n", "expected a string"),
        ("[optim]\nwarmup = 0.5\n", "warmup + hold + decay must be at most 1"),
        ("[optim]\nlr = -1.0\n", "lr must be above 0"),
        ("[data]\nmax_seconds = 300.0\n", "max_seconds exceeds batch_seconds"),
        ("[model]\nheads = 7\n", "heads"),
    ],
)
def test_wrong_values_are_refused_with_the_file(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, "a.toml", text)
    message = refusal(path)
    assert expected in message
    assert str(path) in message


def test_cycle_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", 'extends = "b.toml"\n')
    path = write(tmp_path, "b.toml", 'extends = "a.toml"\n')
    assert "break the cycle" in refusal(path)


def test_missing_parent_names_the_child(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", 'extends = "no.toml"\n')
    assert "no.toml: no such configuration file (asked for by" in refusal(path)


def test_not_toml(tmp_path: Path) -> None:
    assert "not valid TOML" in refusal(write(tmp_path, "a.toml", "[model\n"))


def test_sections_of_other_systems(tmp_path: Path) -> None:
    base = write(tmp_path, "base.toml", "[targets]\nclusters = 9\n[model]\ndim = 48\n")
    child = write(tmp_path, "c.toml", 'extends = "base.toml"\nsystem = "ctc"\n')
    config = load_config(child).config
    assert config.targets is None and config.model.dim == 48  # inherited, not used: no error
    assert "has no section [targets]" in refusal(child, "targets.clusters=3")
    assert base.exists()


@pytest.mark.parametrize("text", ["optim.lr", "lr=3", "optim.=3", "optim.lr.x=3", "=3"])
def test_malformed_overrides(text: str) -> None:
    assert text.partition("=")[0] in refusal(None, text)


def test_differences_name_keys() -> None:
    first = {"a": 1, "s": {"x": 1, "y": [1]}}
    second = {"a": 1, "s": {"x": 2, "y": [1], "z": "n"}}
    assert differences(first, second) == ["s.x: 1 -> 2", 's.z: null -> "n"']


@pytest.mark.parametrize("path", sorted(CONF.glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_of_the_recipe_loads(path: Path) -> None:
    assert load_config(path).config.hash()


@pytest.mark.parametrize(
    "text,message",
    [
        ("[optim]\nlr = nan\n", "x.toml:2: optim.lr = NaN: expected a finite number"),
        ("[optim]\nlr = inf\n", "x.toml:2: .*expected a finite number"),
        ("[optim]\nlr = 1" + "0" * 400 + "\n", "x.toml:2: .*expected a number of 64 bits"),
        ("[model]\ndim = 9223372036854775808\n", "x.toml:2: .*expected a number of 64 bits"),
        ("[model]\ndim = " + "9" * 5000 + "\n", "x.toml: not valid TOML: .*digits"),
        ("system = [1]\n", r"x.toml:1: system: no system \[1\]"),
        ('extends = "a\\u0000b"\n', "not the name of a file"),
        ('extends = "/dev/zero"\n', "/dev/zero: more than 1 MiB, .*asked for by .*x.toml"),
        ("\n" + "a." * 40 + "a = 1\n", "x.toml:2: a name of more than 32 parts"),
        ("\n[" + "'a' . " * 40 + "a]\n", "x.toml:2: a name of more than 32 parts"),
    ],
)
def test_hostile_values_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert re.search(message, refusal(write(tmp_path, "x.toml", text)))


def test_an_override_nested_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="--set model.dim: nested too deeply"):
        load_config(None, ["model.dim=" + "[" * 5000 + "]" * 5000])


@pytest.mark.parametrize("resolved", [[], {"system": "ctc", "model": 3}, {"system": {}}])
def test_dictionaries_of_others_are_refused(resolved) -> None:
    with pytest.raises(UserError, match="it"):
        from_dict(resolved, "it")
