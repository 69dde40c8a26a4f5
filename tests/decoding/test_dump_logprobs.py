"""Log-probabilities of a fine-tuned checkpoint: the model's own, whatever the number of jobs."""

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter, read_mat, read_scp
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.decoding.search import LogProbs
from pylib.units.letters import VOCABULARY

pytestmark = pytest.mark.slow  # imports torch

MODEL = {
    "frontend": "fbank",
    "dim": 32,
    "ffn_dim": 64,
    "layers": 2,
    "heads": 2,
    "pos_conv_depth": 2,
    "pos_conv_width": 6,
    "pos_conv_groups": 4,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    import torch

    from pylib.training import checkpoint
    from pylib.training.build import build_system
    from pylib.training.config import from_dict

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frames = {f"s-{i}": n for i, n in enumerate([90, 40, 61, 3, 120])}
    data = tmp_path / "data" / "test"
    data.mkdir(parents=True)
    for utt in frames:
        (tmp_path / f"{utt}.wav").touch()
    write_table(data / "wav.scp", {u: f"{u}.wav" for u in frames})
    write_table(data / "utt2spk", dict.fromkeys(frames, "s"))
    write_table(data / "utt2num_frames", frames)
    with ArkWriter(tmp_path / "f.ark", data / "feats.scp") as writer:
        for utt, count in frames.items():
            writer.write(utt, rng.normal(size=(count, 80)).astype(np.float32))
    write_json(data / "feats.json", {"kind": "fbank", "dim": 80, "rate": 100})
    config = from_dict({"system": "ctc", "model": MODEL, "ctc": {"channel_length": 4}}, "test")
    torch.manual_seed(0)
    system = build_system(config, len(VOCABULARY)).eval()
    payload = {
        "format": checkpoint.FORMAT,
        "system": "ctc",
        "config": config.as_dict(),
        "model": system.state_dict(),
        "update": 7,
        "vocab": list(VOCABULARY),
    }
    checkpoint.save(tmp_path, ["ft.pt"], payload)
    return tmp_path


def dump(out, shards, *options):
    from pylib.bin import dump_logprobs

    place = [*options, "ft.pt", "data/test", out]
    if shards == 1:  # as steps/dump_logprobs.sh with one job
        return dump_logprobs.main(place)
    for shard in range(1, shards + 1):
        dump_logprobs.main(["--shard", f"{shard}/{shards}", *place])
    return dump_logprobs.main(["--merge", str(shards), *place])


def test_jobs_do_not_change_the_bytes_and_short_ones_are_listed(place, capsys):
    dump("one", 1, "--batch-seconds", "2")
    dump("three", 3, "--batch-seconds", "2")
    one, three = (read_scp(f"{name}/logprobs.scp") for name in ("one", "three"))
    assert sorted(one) == sorted(three) == ["s-0", "s-1", "s-2", "s-4"]
    for utt in one:
        assert np.array_equal(read_mat(one[utt]), read_mat(three[utt]))
        assert read_mat(one[utt]).shape[1] == 32
    loaded = LogProbs.load("one")
    assert loaded.too_short == {"s-3"} and loaded.tokens.symbols == VOCABULARY
    assert loaded.meta["checkpoint"]["update"] == 7 and loaded.meta["frame_rate"] == 25.0
    assert "s-3" in capsys.readouterr().out


def test_batching_does_not_change_the_model_s_output(place):
    dump("alone", 1, "--batch-seconds", "0.01")
    dump("together", 1)
    alone, together = (read_scp(f"{name}/logprobs.scp") for name in ("alone", "together"))
    for utt in alone:
        assert np.allclose(read_mat(alone[utt]), read_mat(together[utt]), atol=1e-4)


def test_a_model_without_letters_is_refused(place):
    import torch

    payload = torch.load("ft.pt", weights_only=True)
    from pylib.training import checkpoint
    from pylib.training.build import build_system
    from pylib.training.config import from_dict

    config = from_dict({"system": "mt4ssl", "model": MODEL, "targets": {"teacher_layers": 2}}, "t")
    state = build_system(config).state_dict()
    payload |= {"system": "mt4ssl", "config": config.as_dict(), "model": state, "vocab": None}
    checkpoint.save(place, ["ft.pt"], payload)
    with pytest.raises(UserError, match="fine-tune it first"):
        dump("out", 1)
