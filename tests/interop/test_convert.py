"""Conversion of whole files: transformers both ways, the step end to end, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from pylib.bin.convert_checkpoint import main
from pylib.corpus.ark import read_mat
from pylib.corpus.audio import read_audio
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.interop.transformers import config_to_transformers, state_to_transformers
from pylib.nn.encoder import Encoder, EncoderConfig
from pylib.systems.ctc import CTC, CTCConfig
from pylib.training.checkpoint import FORMAT, load, load_system, write
from pylib.training.config import from_dict
from tests.interop.models import (
    CONFIGS,
    HUBERT,
    TINY,
    outputs,
    same,
    saved,
    shaken,
    system,
    waveform,
)
from tests.training.helpers import PRETRAIN, ROOT, make_set, process_env, toml

transformers = pytest.importorskip("transformers")
ATOL = 2e-5  # sums in another order
AUTO = {"data2vec": "Data2VecAudioModel", "hubert": "HubertModel", "hubert_large": "HubertModel"}


def convert(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def foreign(name: str, ctc: bool = False):
    """A random model of transformers of the shape of CONFIGS[name]."""
    kind = AUTO[name].removesuffix("Model")
    config = getattr(transformers, f"{kind}Config")(**config_to_transformers(CONFIGS[name]))
    torch.manual_seed(2)
    return shaken(getattr(transformers, f"{kind}{'ForCTC' if ctc else 'Model'}")(config))


@pytest.mark.parametrize("name", CONFIGS)
def test_out_to_transformers_and_back(name: str, tmp_path: Path) -> None:
    made = system(name)
    source = saved(tmp_path / "last.pt", made, name)
    convert(source, tmp_path / "theirs")
    theirs = getattr(transformers, AUTO[name]).from_pretrained(tmp_path / "theirs").eval()
    x = waveform()
    with torch.no_grad():
        expected = theirs(x).last_hidden_state
    torch.testing.assert_close(outputs(made.encoder, x), expected, atol=ATOL, rtol=0)
    convert(tmp_path / "theirs", tmp_path / "back.pt")
    back, config, payload = load_system(tmp_path / "back.pt")
    same(back.encoder.state_dict(), made.encoder.state_dict())
    assert config.model == replace(CONFIGS[name], feature_grad_mult=1.0)
    assert config.reading.normalise
    assert payload["provenance"]["system_name"] == name.split("_")[0]
    before = (tmp_path / "back.pt").read_bytes(), sorted(x.name for x in tmp_path.iterdir())
    convert(tmp_path / "theirs", tmp_path / "back.pt")
    convert(source, tmp_path / "theirs")
    assert before == (
        (tmp_path / "back.pt").read_bytes(),
        sorted(x.name for x in tmp_path.iterdir()),
    )


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(
    ("name", "ctc"), [("data2vec", False), ("hubert", False), ("hubert", True)]
)
def test_in_from_transformers(name: str, ctc: bool, safe: bool, tmp_path: Path, capsys) -> None:
    theirs = foreign(name, ctc)
    theirs.save_pretrained(tmp_path / "theirs")
    if not safe:  # as older versions wrote it, with older names of the positions' weight norm
        (tmp_path / "theirs" / "model.safetensors").unlink()
        table = {"parametrizations.weight.original0": "weight_g",
                 "parametrizations.weight.original1": "weight_v"}  # fmt: skip
        state = theirs.state_dict()
        for new, old in table.items():
            state = {key.replace(new, old): value for key, value in state.items()}
        torch.save(state, tmp_path / "theirs" / "pytorch_model.bin")
        convert(tmp_path / "theirs" / "pytorch_model.bin", tmp_path / "ours.pt")
    else:
        convert(tmp_path / "theirs", tmp_path / "ours.pt")
    assert ("lm_head.weight" in capsys.readouterr().out) is ctc
    ours, config, _ = load_system(tmp_path / "ours.pt")
    assert config.reading.normalise is (name == "data2vec")
    x = waveform()
    bare = theirs.base_model if ctc else theirs
    with torch.no_grad():
        expected = bare(x).last_hidden_state
    torch.testing.assert_close(outputs(ours.encoder, x), expected, atol=ATOL, rtol=0)


def test_the_preprocessor_tells_of_normalisation_unless_the_user_does(tmp_path: Path) -> None:
    foreign("hubert").save_pretrained(tmp_path / "theirs")
    told = tmp_path / "theirs" / "preprocessor_config.json"
    told.write_text(json.dumps({"do_normalize": True}), encoding="utf-8")
    convert(tmp_path / "theirs", tmp_path / "ours.pt")
    assert load(tmp_path / "ours.pt")["config"]["data"]["normalise"] is True
    convert("--normalise", "false", tmp_path / "theirs", tmp_path / "ours.pt")
    assert load(tmp_path / "ours.pt")["config"]["data"]["normalise"] is False


def test_a_model_without_vector_for_masked_frames_gets_one(tmp_path: Path, capsys) -> None:
    theirs = foreign("data2vec")
    state = {key: value for key, value in theirs.state_dict().items() if "masked" not in key}
    theirs.save_pretrained(tmp_path / "theirs", state_dict=state)
    convert(tmp_path / "theirs", tmp_path / "ours.pt")
    assert "vector for masked frames" in capsys.readouterr().out
    vector = load(tmp_path / "ours.pt")["model"]["encoder.mask_embedding"]
    assert 0.1 < vector.std() < 0.5


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    theirs = foreign("data2vec")
    state = theirs.state_dict()
    state["adapter.weight"] = state.pop("encoder.layer_norm.bias")
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "theirs" / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks encoder.layer_norm.bias; unexpected adapter.we"):
        convert(tmp_path / "theirs", tmp_path / "ours.pt")
    config = tmp_path / "theirs" / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    for key, value, told in (
        ("intermediate_size", 128, r"of another shape .*intermediate_dense"),
        ("num_hidden_layers", 10**9, "num_hidden_layers|layers = 1000000000"),
        ("num_hidden_layers", "two", "makes no model"),
        ("conv_dim", [16, 32], "one width"),
        ("model_type", "wav2vec2", "expected data2vec-audio or hubert"),
    ):
        config.write_text(json.dumps(values | {key: value}), encoding="utf-8")
        with pytest.raises(UserError, match=told):
            convert(tmp_path / "theirs", tmp_path / "ours.pt")
    del values["layerdrop"], values["hidden_size"]
    config.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match=r"config.json: lacks hidden_size, layerdrop"):
        convert(tmp_path / "theirs", tmp_path / "ours.pt")
    config.unlink()
    with pytest.raises(UserError, match=r"config.json: missing"):
        convert(tmp_path / "theirs", tmp_path / "ours.pt")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["theirs"]


def test_what_cannot_be_written_is_refused_in_a_line(tmp_path: Path) -> None:
    fbank = EncoderConfig(frontend="fbank", dim=32, ffn_dim=64, layers=2, heads=4)
    filters = saved(tmp_path / "fbank.pt", system("mt4ssl", fbank), "mt4ssl")
    stack = saved(tmp_path / "stack.pt", system("mt4ssl"), "mt4ssl")
    pre = saved(tmp_path / "pre.pt", system("mt4ssl", replace(TINY, norm="pre")), "mt4ssl")
    for source, kind, told in (
        (filters, "transformers", "fbank"),
        (filters, "fairseq", "fbank"),
        (filters, "torchaudio", "fbank"),
        (stack, "torchaudio", "pos_conv_depth"),
        (stack, "trivium", "already"),
        (pre, "transformers", "no such model"),
    ):
        with pytest.raises(UserError, match=told) as caught:
            convert("--to", kind, source, tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="is the source"):
        convert(stack, stack)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"thesis.tex: give a new directory"):
        convert(stack, tmp_path / "out")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="none of the formats"):
        convert(tmp_path / "other.pt", tmp_path / "ours.pt")
    with pytest.raises(UserError, match="no such file"):
        convert(tmp_path / "nothing.pt", tmp_path / "ours.pt")
    with pytest.raises(UserError, match=r"convert_checkpoint.sh"):
        load(tmp_path / "other.pt")


def test_a_fine_tuned_model_gives_its_encoder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = CTC(HUBERT, CTCConfig(channel_length=4), 32)
    shaken(made)
    sections = {"system": "ctc", "model": asdict(HUBERT), "ctc": {"channel_length": 4}}
    payload = {
        "format": FORMAT, "system": "ctc", "config": from_dict(sections, "test").as_dict(),
        "model": made.state_dict(), "vocab": [chr(65 + i) for i in range(32)],
    }  # fmt: skip
    write(tmp_path / "ctc.pt", payload)
    convert(tmp_path / "ctc.pt", tmp_path / "theirs")
    theirs = transformers.HubertModel.from_pretrained(tmp_path / "theirs").eval()
    x = waveform()
    with torch.no_grad():
        expected = theirs(x).last_hidden_state
    torch.testing.assert_close(outputs(made.encoder, x), expected, atol=ATOL, rtol=0)


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = system("hubert")
    convert(saved(tmp_path / "last.pt", made, "hubert"), tmp_path / "safe")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "safetensors.torch", None)
        convert(tmp_path / "last.pt", tmp_path / "theirs")
        with pytest.raises(UserError, match="package safetensors is not installed"):
            convert(tmp_path / "safe", tmp_path / "back.pt")
    assert (tmp_path / "theirs" / "pytorch_model.bin").is_file()
    theirs = transformers.HubertModel.from_pretrained(tmp_path / "theirs").eval()
    same(dict(theirs.state_dict()), state_to_transformers(made.encoder.state_dict()))
    (tmp_path / "safe" / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"model.safetensors: not readable"):
        convert(tmp_path / "safe", tmp_path / "back.pt")


def script(cwd: Path, name: str, *words: object) -> str:
    done = subprocess.run(
        ["bash", str(ROOT / "steps" / name), *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=180, check=False,
        env=process_env(TRIVIUM_PYTHON=sys.executable),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_model_of_others_is_dumped_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps: convert, features of a layer, pre-training from it."""
    theirs = foreign("hubert")
    theirs.save_pretrained(tmp_path / "theirs")
    out = script(tmp_path, "convert_checkpoint.sh", "theirs", "exp/hubert.pt")
    assert out.startswith("exp/hubert.pt: trivium from transformers")
    sets = [make_set(tmp_path, name, [1.0, 1.2, 1.1, 0.9], n, "waveform")
            for n, name in enumerate(("train", "dev"))]  # fmt: skip
    dump = ("--nj", 1, "--layer", 2, "exp/hubert.pt", sets[0], "ark")
    script(tmp_path, "dump_feats.sh", *dump)
    monkeypatch.chdir(tmp_path)
    utt, place = next(iter(read_table(sets[0] / "hidden2.scp").items()))
    audio = read_audio(read_table(sets[0] / "wav.scp")[utt])
    with torch.no_grad():
        expected = theirs(torch.as_tensor(audio)[None].float()).last_hidden_state[0]
    found = torch.as_tensor(read_mat(place))
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=0)
    settings = {**PRETRAIN, "optim": {"lr": 1e-6, "updates": 1}, "mask": {"length": 2}}
    settings.pop("model")
    settings["targets"] = {"clusters": 8, "teacher_layers": 2}
    (tmp_path / "pre.toml").write_text(toml(settings), encoding="utf-8")
    script(tmp_path, "train.sh", "--config", "pre.toml", "--init", "exp/hubert.pt", *sets, "exp/on")
    trained, config, _ = load_system(tmp_path / "exp" / "on" / "checkpoint_last.pt")
    assert isinstance(trained.encoder, Encoder)
    assert config.encoder.conv_norm == HUBERT.conv_norm
    x = waveform()
    with torch.no_grad():
        expected = theirs(x).last_hidden_state
    torch.testing.assert_close(outputs(trained.encoder, x), expected, atol=1e-2, rtol=0)
