"""Decoding of every modality and noise, its tuning, the steps: from a checkpoint to scores."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pylib.bin import decode_av, score_wer, tune_av
from pylib.bin.av_args import read_tuned
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import read_table, write_table
from pylib.decoding import av_tune
from pylib.decoding.attention_search import Hypothesis, SearchOptions
from pylib.decoding.av_decode import Sources, decode_batch, encode
from pylib.decoding.variants import Variant, variants_of
from pylib.features.noise import Condition, NoiseSet
from pylib.training.av_reader import AVReader
from pylib.training.checkpoint import load_system
from pylib.training.session import Request, train
from pylib.units.subwords import Subwords
from pylib.units.subwords import train as train_subwords
from tests.training.av_helpers import SEQ2SEQ, WORDS, make_av_set
from tests.training.helpers import toml

STEPS = Path(__file__).resolve().parents[2] / "steps"
BABBLE = Condition("babble", 0.0)


@dataclass(frozen=True)
class World:
    """Sets, noise and fine-tuned checkpoints."""

    folder: Path
    dev: Path
    test: Path
    noise: Path
    checkpoint: Path

    def decode(self, out: str, *options: str, checkpoint: Path | None = None) -> Path:
        """One shard and its merge, in this process."""
        given = [*options, str(checkpoint or self.checkpoint), str(self.test)]
        for part in (["--shard", "1/1"], ["--merge", "1"]):
            decode_av.main([*part, *given, str(self.folder / out)])
        return self.folder / out


def fine_tuned(folder: Path, name: str, train_set: Path, dev: Path, **seq: object) -> Path:
    sections = {k: dict(v) if isinstance(v, dict) else v for k, v in SEQ2SEQ.items()}
    sections["av_data"]["subwords"] = str(folder / "spm.model")
    sections["seq2seq"] |= seq
    config = folder / f"{name}.toml"
    config.write_text(toml(sections), encoding="utf-8")
    assert train(Request(train_set, dev, folder / name, config, device="cpu")) == 0
    return folder / name / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("av")
    rng = np.random.default_rng(0)
    (folder / "spm.model").write_bytes(train_subwords([" ".join(WORDS)] * 5, 40))
    train_set = make_av_set(folder, "train", rng.integers(8, 30, 12).tolist(), 1)
    dev = make_av_set(folder, "dev", rng.integers(8, 30, 5).tolist(), 2)
    test = make_av_set(folder, "test", [1, 3, 30, 17, 17, 9, 80], 3)
    noise = folder / "noise"
    noise.mkdir()
    soundfile.write(noise / "n.wav", 0.1 * rng.standard_normal(9000), 16000, subtype="PCM_16")
    write_table(noise / "babble.test.scp", {"n": str(noise / "n.wav")})
    checkpoint = fine_tuned(folder, "ft", train_set, dev, ctc_weight=0.5, modality_dropout=0.5)
    return World(folder, dev, test, noise, checkpoint)


@pytest.fixture
def sources(world: World) -> Sources:
    noise = NoiseSet(world.noise, "test")
    return Sources(AVReader(world.test, ["audio"]), AVReader(world.test, ["video"]), noise)


def test_pictures_alone_are_decoded_once() -> None:
    made = variants_of([BABBLE, Condition()], ["av", "v"])
    assert [v.name("test") for v in made] == [
        "decode_test_babble_0_av", "decode_test_v", "decode_test_av",
    ]  # fmt: skip


def test_variants_equal_the_encoder_by_itself(world: World, sources: Sources) -> None:
    system, _, _ = load_system(world.checkpoint)
    utts = AVReader(world.test, ["audio"]).utts[:4]
    both = AVReader(world.test, ["audio", "video"])
    variants = variants_of([Condition(), BABBLE], ["av", "a", "v"])
    names = {"av": {"audio", "video"}, "a": {"audio"}, "v": {"video"}}
    seen = []
    for variant, memory, streams in encode(system, sources, utts, variants):
        seen.append(variant)
        condition = None if variant.condition.clean else variant.condition
        batch = both.batch(utts, condition, sources.noise, sources.seed)
        with torch.no_grad():
            expected, lengths = system.encoder(batch, names[variant.modality])
        assert torch.equal(streams.lengths, lengths)
        for row, length in enumerate(lengths.tolist()):
            torch.testing.assert_close(memory[row, :length], expected[row, :length])
    assert sorted(map(str, seen)) == sorted(map(str, variants))


def test_noise_changes_what_is_heard_only(world: World, sources: Sources) -> None:
    system, _, _ = load_system(world.checkpoint)
    utts = sources.audio.utts[:3]
    made = {
        v: memory
        for v, memory, _ in encode(
            system, sources, utts, variants_of([Condition(), BABBLE], ["av", "a"])
        )
    }
    for modality in ("av", "a"):
        clean, noisy = (made[Variant(c, modality)] for c in (Condition(), BABBLE))
        assert not torch.allclose(clean, noisy, atol=1e-3)


def test_batches_give_what_utterances_alone_give(world: World, sources: Sources) -> None:
    system, _, _ = load_system(world.checkpoint)
    pieces = Subwords.load(world.folder).pieces
    variants = variants_of([BABBLE], ["av", "a", "v"])
    options = dict.fromkeys(("av", "a", "v"), SearchOptions(5, 1.0, 0.3))
    utts = sources.audio.utts
    together = decode_batch(system, sources, utts, variants, options, pieces)
    for utt in utts:
        alone = decode_batch(system, sources, [utt], variants, options, pieces)
        for variant in variants:
            assert alone[variant][utt] == together[variant][utt]


def test_directories_and_records(world: World) -> None:
    out = world.decode(
        "out", "--conditions", "clean babble:-5", "--noise", str(world.noise), "--beam", "3",
        "--seed", "7",
    )  # fmt: skip
    names = {p.name for p in out.iterdir()}
    assert names == {
        "decode_test_av", "decode_test_a", "decode_test_v",
        "decode_test_babble_-5_av", "decode_test_babble_-5_a",
    }  # fmt: skip
    utts = set(read_table(world.test / "utt2spk"))
    for name in names:
        record = json.loads((out / name / "decode.json").read_text(encoding="utf-8"))
        assert {p.name for p in (out / name).iterdir()} == {"hyp", "decode.json"}
        assert set(read_table(out / name / "hyp")) == utts  # whatever their lengths
        assert f"decode_{record['set']}_{record['decode']}" == name
        assert record["data_set"] == "test" and record["options"]["beam"] == 3
        assert record["utterances"] == 7 and record["lm"] is None
        assert (record["noise"] is None) == ("babble" not in name)
        if record["noise"]:
            assert record["noise"]["seed"] == 7 and record["condition"] == "babble:-5"


def without_mouths(world: World, name: str, lost: list[str]) -> Path:
    """The mouths of the test set less those of some clips, as steps/make_mouth.sh leaves them."""
    folder = world.folder / name / "test"
    contents = Contents.load(world.test)
    kept = contents.select([utt for utt in contents.utt2spk if utt not in lost])
    folder.mkdir(parents=True)
    kept.write(folder)
    return folder


def test_clips_without_a_mouth_are_heard_and_counted(world: World) -> None:
    utts = sorted(read_table(world.test / "utt2spk"))
    lost = utts[2:4]
    mouths = without_mouths(world, "two_lost", lost)
    options = ["--conditions", "clean babble:0", "--noise", str(world.noise), "--beam", "3",
               "--modalities", "av v a"]  # fmt: skip
    whole = world.decode("ft/whole", *options)
    out = world.decode("ft/lost", *options, "--pictures", str(mouths))
    for name in ("test_av", "test_babble_0_av", "test_a", "test_babble_0_a", "test_v"):
        hyps, before = (read_table(x / f"decode_{name}" / "hyp") for x in (out, whole))
        record = json.loads((out / f"decode_{name}" / "decode.json").read_text(encoding="utf-8"))
        assert set(hyps) == (set(utts) - set(lost) if name == "test_v" else set(utts))
        assert record["no_pictures"] == ([] if name.endswith("_a") else lost)
        # The others are read as if no clip were lost, those that were as sound alone is.
        assert all(hyps[utt] == before[utt] for utt in set(hyps) - set(lost))
        if name.endswith("_av"):
            heard = read_table(out / f"decode_{name[:-3]}_a" / "hyp")
            assert all(hyps[utt] == heard[utt] for utt in lost)


def test_clips_without_a_mouth_are_in_every_score(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    utts = sorted(read_table(world.test / "utt2spk"))
    out = world.decode(
        "ft", "--beam", "2", "--pictures", str(without_mouths(world, "one_lost", utts[:1]))
    )
    words = sum(len(text.split()) for text in read_table(world.test / "text").values())
    for name in ("av", "v", "a"):
        assert score_wer.main([str(world.test), str(out / f"decode_test_{name}")]) == 0
        score = json.loads((out / f"decode_test_{name}/scoring/wer.json").read_text("utf-8"))
        assert score["n"] == words and score["details"]["sentences"] == len(utts)
        assert score["details"]["missing"] == (utts[:1] if name == "v" else [])
        assert ("1 of 7 clips have no mouth" in capsys.readouterr().out) == (name != "a")
    # A hypothesis that is missing for another reason is an error as before.
    folder = out / "decode_test_v"
    hyps = read_table(folder / "hyp")
    write_table(folder / "hyp", {utt: hyps[utt] for utt in utts[2:]})
    assert score_wer.main([str(world.test), str(folder)]) == 1


def test_pictures_of_another_set_are_refused(world: World) -> None:
    with pytest.raises(UserError, match="--pictures: has"):
        world.decode("x", "--modalities", "v", "--pictures", str(world.dev))


def test_greedy_reads_the_best_path(world: World) -> None:
    out = world.decode("greedy", "--method", "greedy", "--modalities", "av")
    record = json.loads((out / "decode_test_av" / "decode.json").read_text(encoding="utf-8"))
    assert record["method"] == "greedy" and record["options"] is None


def test_tuned_options_are_each_modalitys_own(world: World) -> None:
    tuned = world.folder / "tuned.json"
    tune_av.main(["--modalities", "av v", "--beam", "3", str(world.checkpoint), str(world.dev),
                  str(tuned)])  # fmt: skip
    rows = read_tuned(str(tuned))
    content = json.loads(tuned.read_text(encoding="utf-8"))["modalities"]
    for name in ("av", "v"):
        trials = content[name]["trials"]
        assert len(trials) == len(av_tune.LENGTH_PENALTIES) * len(av_tune.CTC_WEIGHTS)
        assert content[name]["wer"] == min(t["wer"] for t in trials)
    out = world.decode("tuned", "--tuned", str(tuned), "--length-penalty", "0.6")
    for name, source in (("av", "av"), ("a", "av"), ("v", "v")):
        record = json.loads((out / f"decode_test_{name}" / "decode.json").read_text())
        assert record["options"] == rows[source]["options"] | {"length_penalty": 0.6}
        assert record["tuned"]["modality"] == source and record["tuned"]["set"] == "dev"
        assert record["tuned"]["overridden"] == ["length_penalty"]


def test_tuning_ranks_what_was_found() -> None:
    pieces = ("<s>", "<pad>", "</s>", "<unk>", "\u2581a", "\u2581b")
    found = {0.0: {"u": [Hypothesis((4,), -1.0), Hypothesis((4, 5, 5), -1.9)]}}
    trials = av_tune.evaluate(found, {"u": ["A"], "w": ["B"]}, pieces, str.split)
    by_penalty = {t.length_penalty: t for t in trials}
    assert by_penalty[0.0].errors == 1  # `w` was not found: one word deleted
    assert by_penalty[1.0].errors == 3 and by_penalty[1.0].words == 2
    chosen = min(trials, key=av_tune.Trial.rank)
    assert chosen.length_penalty < 1.0
    assert "*" in av_tune.format_table(trials, chosen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modalities", "x"], "expected some of"),
        (["--modalities", ""], "none given"),
        (["--conditions", "babble:0"], "--noise"),
        (["--conditions", "rain:0"], "condition"),
        (["--shard", "3/2"], "N/M"),
        (["--tuned", "nowhere.json"], "tune_av"),
    ],
)
def test_wrong_options(world: World, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decode_av.main([*options, str(world.checkpoint), str(world.test), str(world.folder / "x")])


@pytest.mark.slow
def test_models_without_what_is_asked_for(world: World) -> None:
    lips = fine_tuned(
        world.folder, "lips", world.folder / "data" / "train", world.dev, modalities=["video"]
    )
    given = [str(lips), str(world.test), str(world.folder / "y")]
    with pytest.raises(UserError, match="not fine-tuned with audio"):
        decode_av.main(given)
    with pytest.raises(UserError, match="no CTC head"):
        decode_av.main(["--modalities", "v", "--ctc-weight", "0.3", *given])
    with pytest.raises(UserError, match="no CTC head"):
        decode_av.main(["--modalities", "v", "--method", "greedy", *given])
    with pytest.raises(UserError, match="development"):
        tune_av.main([str(lips), str(world.test), str(world.folder / "t.json")])
    out = world.decode("lips", "--modalities", "v", checkpoint=lips)
    assert len(read_table(out / "decode_test_v" / "hyp")) == 7


def test_a_pure_ctc_model_is_searched_by_prefixes(world: World) -> None:
    ctc = fine_tuned(
        world.folder, "ctc", world.folder / "data" / "train", world.dev, ctc_weight=1.0
    )
    out = world.decode("ctc_out", "--modalities", "av", "--beam", "4", checkpoint=ctc)
    record = json.loads((out / "decode_test_av" / "decode.json").read_text(encoding="utf-8"))
    assert record["options"]["ctc_weight"] == 1.0


def step(name: str, *words: str | Path) -> str:
    done = subprocess.run(
        ["bash", str(STEPS / f"{name}.sh"), *map(str, words)], capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_steps_from_checkpoint_to_scores(world: World) -> None:
    exp = world.checkpoint.parent
    step("tune_av", "--beam", "4", world.checkpoint, world.dev, exp / "tuned.json")
    contents = []
    options = ["--conditions", "clean babble:0", "--noise", world.noise, "--tuned",
               exp / "tuned.json", "--batch-seconds", "1"]  # fmt: skip
    for nj in ("1", "2"):
        step("decode_av", "--nj", nj, *options, world.checkpoint, world.test, exp)
        contents.append({p: p.read_bytes() for p in sorted(exp.glob("decode_*/*")) if p.is_file()})
    assert contents[0] == contents[1] and len(contents[0]) == 10
    assert not list(exp.glob("decode_*/parts"))
    listed = step("decode_av", "--list", "true", *options, world.checkpoint, world.test, exp)
    for directory in listed.split():
        assert score_wer.main([str(world.test), directory]) == 0
        score = json.loads((Path(directory) / "scoring" / "wer.json").read_text(encoding="utf-8"))
        assert f"decode_{score['set']}_{score['decode']}" == Path(directory).name
    assert len(listed.split()) == 5
