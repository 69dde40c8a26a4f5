"""What egs/lrs3/run.sh would do, and which options it refuses before it begins."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pylib.decoding.variants import parse_conditions, parse_modalities, variants_of
from pylib.training.config import TrainConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs" / "lrs3" / "run.sh"


def call(*options: str) -> subprocess.CompletedProcess[str]:
    """The recipe with `--dry-run`."""
    return subprocess.run(
        ["bash", str(RECIPE), "--dry-run", "--exp", "exp_plan", *options],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def plan(*options: str) -> list[list[str]]:
    """Commands of the stages, in words; of the same file without what it runs itself."""
    done = call(*options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [shlex.split(line) for line in lines if line and line[0] not in " #"]


def of(commands: list[list[str]], step: str) -> list[list[str]]:
    """The commands of one step."""
    return [words for words in commands if words[0].endswith(f"/{step}.sh")]


def option(words: list[str], name: str) -> str:
    """The value of an option."""
    return words[words.index(f"--{name}") + 1]


def test_the_whole_test_set_is_decoded() -> None:
    """Not the part of it whose mouths were found, which is where the pictures are."""
    commands = plan("--finetune", "all av v")
    features = next(w for w in of(commands, "make_feats") if "exp_plan/data/test" in w)
    assert option(features, "kind") == "logfbank"
    places = [words[words.index("exp_plan/data/test") + 1] for words in [features]]
    others = [
        word for words in of(commands, "make_feats") if words is not features for word in words
    ]
    assert not set(places) & set(others)
    found = of(commands, "recognise")
    assert len(found) == 3
    for words in found:
        assert words[-2] == "exp_plan/data/test"
        assert option(words, "pictures") == "exp_plan/data/mouth/test"


def finetunings(*options: str) -> dict[str, TrainConfig]:
    """Name of a fine-tuned model -> its settings, as the training would read them."""
    found = {}
    for words in of(plan(*options), "train"):
        name = Path(words[-1]).name
        if name.startswith("finetune_"):
            files = [RECIPE.parent / file for file in option(words, "config").split()]
            given = re.split(r"\s+(?=\w+\.\w+=)", option(words, "set").strip())
            found[name] = load_config(files, given).config
    return found


@pytest.mark.parametrize("preset", ["smoke", "mini", "small", "base", "large"])
def test_a_model_is_tuned_with_the_streams_that_it_is_named_after(preset: str) -> None:
    found = finetunings("--preset", preset, "--iteration", "1", "--finetune", "all av v a",
                        "--systems", "vatlm scratch")  # fmt: skip
    assert len(found) == 8
    for name, config in found.items():
        streams = name.split("_")[-2]
        assert config.seq2seq is not None
        expected = {"a": ("audio",), "v": ("video",)}.get(streams, ("audio", "video"))
        assert config.seq2seq.modalities == expected, name
        assert (config.seq2seq.modality_dropout > 0) == (streams == "all"), name
        # A random encoder that is frozen learns nothing, for most of the updates.
        if "scratch" in name:
            assert config.seq2seq.freeze_updates == 0, name
    if preset == "base":
        frozen = {
            n: c.seq2seq.freeze_updates for n, c in found.items() if "vatlm" in n and c.seq2seq
        }
        assert all(frozen.values())


def test_settings_by_hand_win() -> None:
    found = finetunings("--systems", "scratch", "--finetune", "av", "--set-finetune",
                        "seq2seq.freeze_updates=7 seq2seq.modality_dropout=0.25")  # fmt: skip
    (config,) = found.values()
    assert config.seq2seq is not None
    assert (config.seq2seq.freeze_updates, config.seq2seq.modality_dropout) == (7, 0.25)


@pytest.mark.parametrize("options", [("--finetune", "vav"), ("--systems", "hubert")])
def test_names_that_are_none_are_refused(options: tuple[str, str]) -> None:
    done = call(*options)
    assert done.returncode == 2 and options[1] in done.stderr and not done.stdout


def test_noise_that_is_not_there_is_refused(tmp_path: Path) -> None:
    real = ("--corpus-dir", "/data/LRS3", "--systems", "scratch")
    done = call("--preset", "small", *real)
    assert done.returncode == 2 and not done.stdout
    assert (
        "music:0: no music noise without --musan, only babble, speech: give --musan" in done.stderr
    )
    (tmp_path / "music").mkdir()
    done = call("--preset", "small", *real, "--musan", str(tmp_path))
    assert done.returncode == 2 and "no natural noise in" in done.stderr
    (tmp_path / "noise").mkdir()
    assert plan("--preset", "small", *real, "--musan", str(tmp_path))
    assert plan("--preset", "small", *real, "--conditions", "clean babble:-5 speech:2.5")
    for wrong in ("rain:0", "babble", "babble:x", " "):
        done = call("--conditions", wrong)
        assert done.returncode == 2 and "--conditions" in done.stderr


@pytest.mark.parametrize(
    ("conditions", "finetune", "name"),
    [
        ("clean babble:0", "all", "decode_test_av"),
        ("babble:-5 clean", "all", "decode_test_babble_-5_av"),
        ("speech:2.50", "a", "decode_test_speech_2.5_a"),
        ("music:-0", "av", "decode_test_music_0_av"),
        ("babble:+10", "v", "decode_test_v"),
    ],
)
def test_the_stage_says_what_it_decodes_first(conditions: str, finetune: str, name: str) -> None:
    words = [conditions, {"all": "av a v"}.get(finetune, finetune)]
    (variant, *_) = variants_of(parse_conditions(words[0]), parse_modalities(words[1]))
    assert variant.name("test") == name
    done = subprocess.run(
        ["bash", "-c", '. "$1/local/choices.sh"; first_decoding "$2" "$3"', "-",
         str(RECIPE.parent), words[1], conditions],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == name
    status = subprocess.run(
        ["bash", str(RECIPE), "--status", "--exp", "exp_plan", "--systems", "scratch",
         "--conditions", conditions, "--finetune", finetune],
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert f"{name}/scoring" in status.stdout


def turns(*options: str) -> dict[str, int]:
    """Micro-batches of VATLM's pre-training, and the kinds of data that take turns."""
    for words in of(plan(*options), "train"):
        if Path(words[-1]).name.startswith("pretrain_vatlm"):
            files = [RECIPE.parent / file for file in option(words, "config").split()]
            given = re.split(r"\s+(?=\w+\.\w+=)", option(words, "set").strip())
            config = load_config(files, given).config
            assert config.mixture is not None
            kinds = 1 + len(config.mixture.sets())
            return {"micro": config.optim.micro_batches, "kinds": kinds}
    raise AssertionError("no pre-training")


@pytest.mark.parametrize(
    ("options", "kinds", "micro"),
    [
        (("--preset", "base", "--text", "t", "--audio-dir", "a"), 4, 128),
        (("--preset", "base", "--text", "t"), 3, 96),
        (("--preset", "base", "--audio-dir", "a"), 3, 96),
        (("--preset", "base"), 2, 64),
        (("--preset", "large", "--text", "t"), 3, 192),
        (("--preset", "small", "--text", "t"), 3, 3),
        (("--preset", "small"), 2, 4),
    ],
)
def test_every_kind_of_data_has_its_turn(options: tuple[str, ...], kinds: int, micro: int) -> None:
    """Whatever is given of --text and --audio-dir: a fourth of the configured number each."""
    real = ("--corpus-dir", "/data/LRS3", "--musan", "/data/musan", "--iteration", "1")
    assert turns(*options, *real, "--systems", "vatlm") == {"micro": micro, "kinds": kinds}


def test_turns_that_the_processes_cannot_share_are_refused() -> None:
    real = ("--corpus-dir", "/data/LRS3", "--text", "t")
    done = call(*real)  # mini: two processes
    assert done.returncode == 2 and not done.stdout
    assert "3 micro-batches an update, which 2 processes cannot share" in done.stderr
    assert turns(*real, "--nproc", "1") == {"micro": 3, "kinds": 3}
    assert turns(*real, "--set-pretrain", "optim.micro_batches=6") == {"micro": 6, "kinds": 3}
    done = call(*real, "--nproc", "1", "--set-pretrain", "optim.micro_batches=4")
    assert done.returncode == 2 and "a multiple of 3" in done.stderr


@pytest.mark.parametrize(("preset", "share"), [("small", "1.0"), ("base", "0.1"), ("large", "0.1")])
def test_labels_of_a_model_at_full_scale(preset: str, share: str) -> None:
    """On the GPUs that there are, k-means of a tenth, and no terabytes of features left behind."""
    found = plan("--preset", preset, "--ngpu", "4")
    relabels = of(found, "relabel")
    assert len(relabels) == {"small": 1}.get(preset, 4)
    for words in relabels:
        assert (option(words, "device"), option(words, "gpu")) == ("cuda", "1")
        assert (option(words, "fraction"), option(words, "keep-feats")) == (share, "false")
    assert [option(words, "fraction") for words in of(found, "train_kmeans")] == [share]
    for words in of(plan("--preset", preset, "--ngpu", "0"), "relabel"):
        assert "--device" not in words


@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("preset", ["base", "large"])
def test_every_training_can_be_shared(preset: str, nodes: int) -> None:
    """On 8 and 32 GPUs; the plain command plans the real corpora, with all four kinds of data."""
    commands = of(plan("--preset", preset, "--num-nodes", str(nodes)), "train")
    assert len(commands) == 11  # four models for units, phones to units, two systems and two each
    for words in commands:
        given = dict(zip(words, words[1:], strict=False))
        files = [RECIPE.parent / file for file in given["--config"].split()]
        overrides = re.split(r"\s+(?=\w+\.\w+=)", given["--set"].strip())
        config = load_config(files, overrides).config
        count = int(given["--ngpu"]) * int(given.get("--num-nodes", "1"))
        assert count >= 1 and config.optim.micro_batches % count == 0, words


def test_base_without_a_corpus_is_refused() -> None:
    done = subprocess.run(
        ["bash", str(RECIPE), "--preset", "base", "--exp", "exp_plan"], capture_output=True,
        text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "--corpus-dir" in done.stderr
    assert "make_mini_corpus" not in call("--preset", "base").stdout
