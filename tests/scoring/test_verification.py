"""Verification and identification on latents of known geometry; what must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pylib.bin import score_sid, score_sv
from pylib.corpus.errors import UserError
from pylib.corpus.trials import Trial
from pylib.scoring.collect import check_row
from pylib.scoring.latents import read_latents
from pylib.scoring.lda import fit_lda
from pylib.scoring.verification import index_trials, speaker_weights
from tests.scoring.latent_dirs import latent_dir, write_trials

GENDER = {"p": "m", "q": "m", "r": "f", "s": "f"}
UTTS = [f"{s}-{i:02d}" for s in "pqrs" for i in range(8)]


@pytest.fixture
def dirs(tmp_path: Path) -> tuple[Path, Path, Path]:
    train = latent_dir(tmp_path / "train", "abcdefgh")
    test = latent_dir(tmp_path / "unseen", "pqrs")
    return train, test, write_trials(tmp_path / "trials", UTTS, GENDER)


def results(path: Path) -> dict[tuple[str, str], dict]:
    rows = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert all(check_row(row, path) == row for row in rows)
    return {(row["measure"], row["decode"]): row for row in rows}


def score(dirs: tuple[Path, Path, Path], *options: str) -> dict[tuple[str, str], dict]:
    out = dirs[0].parent / "quality_sv.json"
    words = [*options, "--draws", "50", *map(str, dirs), str(out)]
    assert score_sv.main(words) == 0
    return results(out)


def test_the_sequence_latent_verifies_and_the_content_latent_does_not(dirs, capsys) -> None:
    found = score(dirs)
    assert found.keys() == {
        (measure, f"svector/{backend}")
        for measure in ("eer", "eer_same_gender", "min_dcf")
        for backend in ("cosine", "centred", "lda")
    }
    assert found["eer", "svector/centred"]["value"] < 5
    assert found["eer", "svector/centred"]["value"] <= found["eer", "svector/cosine"]["value"]
    row = found["eer", "svector/lda"]
    assert row["system"] == "fhvae" and row["seed"] == 3 and row["set"] == "unseen"
    assert row["n"] == 32 * 31 // 2 and found["eer_same_gender", "svector/lda"]["n"] == 240
    assert row["low"] <= row["value"] <= row["high"]
    assert "EER, % ↓" in capsys.readouterr().out
    leak = score(dirs, "--latent", "z1mean")
    assert leak["eer_content", "z1mean/cosine"]["value"] > 35
    assert ("eer_same_gender_content", "z1mean/lda") in leak


def test_the_same_input_gives_the_same_file(dirs) -> None:
    first = score(dirs)
    assert score(dirs) == first


def test_unknown_gender_gives_no_row_of_one_gender(dirs) -> None:
    write_trials(dirs[2], UTTS, dict.fromkeys("pqrs", ""))
    assert {measure for measure, _ in score(dirs)} == {"eer", "min_dcf"}


def test_fewer_than_three_speakers_have_no_interval(dirs) -> None:
    write_trials(dirs[2], [u for u in UTTS if u[0] in "pq"], GENDER)
    assert all(row["low"] is None and row["high"] is None for row in score(dirs).values())


def test_leakage_and_mismatches_are_refused(dirs, tmp_path: Path) -> None:
    train, test, trials = dirs
    out = str(tmp_path / "out.json")
    own = write_trials(tmp_path / "own", ["a-00", "a-01", "b-00"], {"a": "m", "b": "f"})
    with pytest.raises(UserError, match="'a', 'b'.*also in"):
        score_sv.main([str(train), str(train), str(own), out])
    other = latent_dir(tmp_path / "other", "xyz", checkpoint_sha256="beef")
    own = write_trials(tmp_path / "own", ["x-00", "x-01", "y-00"], {"x": "m", "y": "f"})
    with pytest.raises(UserError, match="one checkpoint"):
        score_sv.main([str(train), str(other), str(own), out])
    with pytest.raises(UserError, match="--latent z3"):
        score_sv.main(["--latent", "z3", *map(str, dirs), out])
    write_trials(trials, [*UTTS, "p-99"], GENDER)
    with pytest.raises(UserError, match="p-99"):
        score_sv.main([str(train), str(test), str(trials), out])
    trials.write_text("p-00 p-01 nontarget same\np-00 p-02 target same\n", encoding="utf-8")
    with pytest.raises(UserError, match="p-01"):
        score_sv.main([str(train), str(test), str(trials), out])
    about = json.loads((test / "latents.json").read_text(encoding="utf-8"))
    (test / "latents.json").write_text(json.dumps({**about, "excluded": None}), encoding="utf-8")
    with pytest.raises(UserError, match="excluded is no list"):
        score_sv.main([str(train), str(test), str(trials), out])
    (test / "latents.json").unlink()
    with pytest.raises(UserError, match="dump_latents.sh"):
        score_sv.main([str(train), str(test), str(trials), out])
    assert not Path(out).exists()


def test_utterances_without_a_vector_are_counted(dirs, capsys) -> None:
    """Left out by the dump as too short, they are in no table, or in utt2spk alone."""
    scp = dirs[1] / "svector.scp"
    lines = scp.read_text(encoding="utf-8").splitlines(keepends=True)
    scp.write_text("".join(lines[1:]), encoding="utf-8")
    about = dirs[1] / "latents.json"
    content = json.loads(about.read_text(encoding="utf-8")) | {"excluded": ["s-98"]}
    about.write_text(json.dumps(content), encoding="utf-8")
    write_trials(dirs[2], [*UTTS, "s-98"], GENDER)
    assert score(dirs)["eer", "svector/lda"]["n"] == 31 * 30 // 2
    assert "63 trials left out" in capsys.readouterr().out


def test_weights_of_drawn_speakers(dirs) -> None:
    latents = read_latents(dirs[1], "svector")
    pairs = [Trial("p-00", "p-01", True, "same"), Trial("p-00", "q-00", False, "same")]
    chosen = index_trials(pairs, latents, "trials")
    assert speaker_weights(chosen, np.array([2, 3, 0, 0])).tolist() == [2.0, 6.0]
    assert speaker_weights(chosen, np.array([0, 3, 1, 0])).tolist() == [0.0, 0.0]


def test_lda_spans_what_scikit_learns_does() -> None:
    rng = np.random.default_rng(0)
    labels = [str(i % 5) for i in range(200)]
    centres = 3 * rng.standard_normal((5, 6))
    mix = rng.standard_normal((6, 6))
    x = np.stack([centres[int(s)] for s in labels]) + rng.standard_normal((200, 6)) @ mix
    ours = (x - x.mean(axis=0)) @ fit_lda(x, labels, 3)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=3).fit(x, labels)
    peer = (x - x.mean(axis=0)) @ theirs.scalings_[:, :3]
    for i in range(3):
        assert abs(np.corrcoef(ours[:, i], peer[:, i])[0, 1]) == pytest.approx(1.0, abs=1e-5)
    inner = ours - np.stack([ours[np.array(labels) == s].mean(axis=0) for s in labels])
    np.testing.assert_allclose(inner.T @ inner / len(x), np.eye(3), atol=1e-4)


def test_lda_keeps_what_it_can() -> None:
    x = np.random.default_rng(0).standard_normal((20, 4))
    assert fit_lda(x, ["a", "b"] * 10, 24).shape == (4, 1)
    assert np.isfinite(fit_lda(np.c_[x, np.zeros(20)], list("abcd") * 5, 24)).all()
    with pytest.raises(UserError, match="LDA needs"):
        fit_lda(x, ["a"] * 20, 2)


def test_identification(tmp_path: Path) -> None:
    train = latent_dir(tmp_path / "train", "abcde")
    test = latent_dir(tmp_path / "test", "abcde", first=8, count=4)
    out = tmp_path / "quality_sid.json"
    assert score_sid.main([str(train), str(test), str(out)]) == 0
    found = results(out)
    row = found["sid_accuracy", "svector/logistic"]
    assert row["value"] > 90 and row["n"] == 20 and row["low"] <= row["value"] <= row["high"]
    assert found["sid_accuracy_content", "z1mean/logistic"]["value"] < 60
    assert json.loads(out.read_text(encoding="utf-8"))["details"]["chance"] == 20.0


def test_identification_refuses_shared_utterances_and_new_speakers(tmp_path: Path) -> None:
    train = latent_dir(tmp_path / "train", "abc")
    out = str(tmp_path / "out.json")
    with pytest.raises(UserError, match="not trained on"):
        score_sid.main([str(train), str(train), out])
    new = latent_dir(tmp_path / "new", "abz", first=8)
    with pytest.raises(UserError, match="'z' not in"):
        score_sid.main([str(train), str(new), out])


def test_damaged_vectors_are_refused(tmp_path: Path) -> None:
    place = latent_dir(tmp_path / "train", "ab")
    table = (place / "svector.scp").read_text(encoding="utf-8")
    (place / "svector.scp").write_text(table.replace("a-00", "A-00", 1), encoding="utf-8")
    with pytest.raises(UserError, match="A-00' not in utt2spk"):
        read_latents(place, "svector")
    (place / "svector.scp").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is empty"):
        read_latents(place, "svector")
