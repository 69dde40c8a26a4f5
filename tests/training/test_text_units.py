"""Text alone: from a trained phone2unit to a directory that can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.bin.make_text_units import main
from pylib.corpus.ark import iter_scp
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_numbers, read_table, write_table
from pylib.training.session import Request, train
from pylib.units.labels import LabelReader
from pylib.units.phone_runs import RunReader
from pylib.units.phone_set import SIL, phone_ids
from pylib.units.pronounce import Pronouncer, read_lexicon
from pylib.units.text_phones import TextOptions, TextPhones
from tests.training.phone_helpers import CLUSTERS, LABELS, lexicon, make_set

SETTINGS = (
    "system=phone2unit", f"phone2unit.clusters={CLUSTERS}", "phone2unit.dim=24",
    "phone2unit.encoder_layers=1", "phone2unit.decoder_layers=1", "phone2unit.ffn_dim=32",
    "phone2unit.kernel=3", "phone2unit.duration_dim=24", "phone2unit.dropout=0.0",
    "phone2unit.duration_dropout=0.0", "phone_data.batch_seconds=30.0", "optim.updates=120",
    "optim.lr=5e-3", "run.validate_every=60", "run.tensorboard=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phone2unit")
    make_set(folder / "train", 40, 0)
    make_set(folder / "dev", 8, 1)
    request = Request(
        folder / "train", folder / "dev", folder / "exp", overrides=SETTINGS, device="cpu"
    )
    assert train(request) == 0
    return folder / "exp" / "checkpoint_best.pt"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    rng = np.random.default_rng(5)
    lines = {f"t{i:02d}": " ".join(rng.choice(["A", "CAT", "SAT", "MAP"], 5)) for i in range(30)}
    lines["t30"] = "A ZZZ CAT"
    write_table(folder / "text", lines)
    write_table(folder / "utt2spk", {utt: utt for utt in lines})
    lexicon(folder / "lexicon.txt")
    return folder


def run(texts: Path, out: Path, *options: str) -> Path:
    words = ["--lexicon", str(texts / "lexicon.txt"), "--oov", "drop", *options]
    assert main([*words, str(texts), str(out)]) == 0
    return out


def arrays(path: Path) -> dict[str, list[int]]:
    return {utt: array.tolist() for utt, array in iter_scp(path)}


def test_a_complete_directory(checkpoint: Path, texts: Path, tmp_path: Path) -> None:
    out = run(texts, tmp_path / "out", "--checkpoint", str(checkpoint), "--silence", "0")
    frames = read_numbers(out / "utt2num_frames", int)
    assert len(frames) == 30 and "t30" not in frames  # an unknown word
    assert list(read_table(out / "text")) == list(read_table(out / "utt2spk")) == sorted(frames)
    assert json.loads((out / "labels.json").read_text()) == LABELS
    labels, phones = LabelReader(out), RunReader(out)
    right = total = 0
    for utt, count in frames.items():
        ids, lengths = phones.read(utt)
        units = labels.read(utt, count)
        assert len(ids) == 4 * count and (lengths % 4 == 0).all() and (lengths >= 4).all()
        starts = np.cumsum(lengths) - lengths
        assert ids[starts[0]] == ids[starts[-1]] == SIL
        right += int((units == ids[::4] % CLUSTERS).sum())
        total += count
    assert right / total > 0.9  # as in the set it was trained on


def test_jobs_change_nothing(checkpoint: Path, texts: Path, tmp_path: Path) -> None:
    one = run(texts, tmp_path / "one", "--checkpoint", str(checkpoint))
    three = tmp_path / "three"
    words = ["--checkpoint", str(checkpoint)]
    for index in (1, 2, 3):
        run(texts, three, *words, "--shard", f"{index}/3")
    assert not (three / "phones.scp").exists()
    run(texts, three, *words, "--merge", "3")
    for stem in ("phones", "labels", "phone_runs"):
        assert arrays(one / f"{stem}.scp") == arrays(three / f"{stem}.scp")


def test_scale_and_least(checkpoint: Path, texts: Path, tmp_path: Path) -> None:
    counts = [
        sum(read_numbers(run(texts, tmp_path / name, *more) / "utt2num_frames", int).values())
        for name, *more in (
            ("plain", "--checkpoint", str(checkpoint)),
            ("slow", "--checkpoint", str(checkpoint), "--duration-scale", "2.0"),
            ("long", "--checkpoint", str(checkpoint), "--min-duration", "4"),
        )
    ]
    assert counts[1] > 1.7 * counts[0] and counts[2] > counts[0]


def test_without_a_model_there_are_no_units(
    checkpoint: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(texts, tmp_path / "out", "--checkpoint", str(checkpoint))
    assert (out / "labels.scp").is_file()
    run(texts, out)
    assert not (out / "labels.scp").exists()
    assert "needs --checkpoint" in capsys.readouterr().out
    ids, lengths = RunReader(out).read("t00")
    assert len(ids) % 4 == 0 and lengths.sum() == len(ids)
    frames = read_numbers(out / "utt2num_frames", int)
    assert frames["t00"] == len(ids) // 4
    with pytest.raises(UserError, match="labels.json"):
        LabelReader(out)


def test_drawn_durations_have_the_published_means() -> None:
    table = {f"t{i}": "CAT SAT MAP " * 20 for i in range(60)}
    said = Pronouncer(read_lexicon(None), "drop")
    texts = TextPhones(table, said, TextOptions(silence=0.25, seed=3))
    ids = {utt: texts.phones(utt) for utt in texts.utts}
    joined = np.concatenate(list(ids.values()))
    drawn = np.concatenate([texts.lengths(utt, ids[utt]) for utt in texts.utts])
    assert abs(drawn[joined != SIL].mean() - 5.0) < 0.15
    assert abs(drawn[joined == SIL].mean() - 14.0) < 1.0
    pauses = np.mean([(one[1:-1] == SIL).sum() / 59 for one in ids.values()])
    assert abs(pauses - 0.25) < 0.03
    again = TextPhones(table, said, TextOptions(silence=0.25, seed=3))
    np.testing.assert_array_equal(again.phones("t7"), ids["t7"])
    assert ids["t7"].tolist() != ids["t8"].tolist()


def test_equal_phones_at_a_border_stay_two() -> None:
    table = {"u": "CAT TEN"}
    texts = TextPhones(table, Pronouncer(read_lexicon(None), "drop"), TextOptions(silence=0.0))
    assert texts.phones("u").tolist() == [SIL, *phone_ids(["K", "AE", "T", "T", "EH", "N"]), SIL]


def test_what_does_not_fit_is_refused(checkpoint: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose another one"):
        run(texts, texts)
    with pytest.raises(UserError, match="0 to 1"):
        run(texts, tmp_path / "out", "--silence", "2")
    other = tmp_path / "other"
    other.mkdir()
    (other / "labels.json").write_text(json.dumps({**LABELS, "sha256": "another"}))
    with pytest.raises(UserError, match="another k-means"):
        run(texts, tmp_path / "out", "--checkpoint", str(checkpoint), "--labels-of", str(other))
    write_table(texts / "utt2spk", {"t00": "t00"})
    with pytest.raises(UserError, match="disagree"):
        run(texts, tmp_path / "out")
