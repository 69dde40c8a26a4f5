"""fairseq's layout: special rows, teacher, configuration, objects in the file that are not read."""

from __future__ import annotations

import argparse
import enum
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pylib.bin.convert_checkpoint import main
from pylib.corpus.errors import UserError
from pylib.interop.fairseq_config import encoder_from_fairseq
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import MT4SSL
from pylib.training.checkpoint import load, load_system
from tests.interop.models import (
    BOTH,
    CONFIGS,
    HUBERT,
    TINY,
    K,
    outputs,
    same,
    saved,
    system,
    waveform,
)

PUBLISHED = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]"


def convert(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def model_settings(config: EncoderConfig, name: str) -> dict[str, Any]:
    return {
        "_name": name,
        "extractor_mode": {"layer": "layer_norm", "group": "default"}[config.conv_norm],
        "encoder_layers": config.layers,
        "encoder_embed_dim": config.dim,
        "encoder_ffn_embed_dim": config.ffn_dim,
        "encoder_attention_heads": config.heads,
        "activation_fn": "gelu",
        "layer_type": "transformer",
        "layer_norm_first": config.norm == "pre",
        "conv_feature_layers": PUBLISHED,
        "conv_bias": config.conv_bias,
        "conv_pos": config.pos_conv_width,
        "conv_pos_groups": config.pos_conv_groups,
        "pos_conv_depth": config.pos_conv_depth,
        "encoder_layerdrop": 0.05,
        "average_top_k_layers": 2,
        "logit_temp": 0.1,
        "mask_prob": 0.8,
        "quantize_targets": False,
    }


def layout(config: EncoderConfig) -> dict[str, torch.Tensor]:
    """Random weights of an encoder by fairseq's names, written out one by one."""
    generator = torch.Generator().manual_seed(1)
    d, c, f = config.dim, config.conv_dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {"mask_emb": (d,)}
    for i, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
        stem = f"feature_extractor.conv_layers.{i}"
        shapes[f"{stem}.0.weight"] = (c, c if i else 1, kernel)
        if config.conv_bias:
            shapes[f"{stem}.0.bias"] = (c,)
        if config.conv_norm == "layer" or i == 0:
            norm = f"{stem}.2.1" if config.conv_norm == "layer" else f"{stem}.2"
            shapes |= {f"{norm}.weight": (c,), f"{norm}.bias": (c,)}
    shapes |= {"layer_norm.weight": (c,), "layer_norm.bias": (c,)}
    shapes |= {"post_extract_proj.weight": (d, c), "post_extract_proj.bias": (d,)}
    if config.pos_conv_depth == 1:
        width, part = config.pos_conv_width, d // config.pos_conv_groups
        shapes |= {"encoder.pos_conv.0.bias": (d,), "encoder.pos_conv.0.weight_g": (1, 1, width),
                   "encoder.pos_conv.0.weight_v": (d, part, width)}  # fmt: skip
    else:
        for j in range(config.pos_conv_depth):
            shapes[f"encoder.pos_conv.{j}.0.weight"] = (d, d // config.pos_conv_groups, 19)
            shapes[f"encoder.pos_conv.{j}.0.bias"] = (d,)
    for layer in range(config.layers):
        stem = f"encoder.layers.{layer}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= {f"{stem}.self_attn.{part}.weight": (d, d),
                       f"{stem}.self_attn.{part}.bias": (d,)}  # fmt: skip
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{stem}.{norm}.weight": (d,), f"{stem}.{norm}.bias": (d,)}
        shapes |= {f"{stem}.fc1.weight": (f, d), f"{stem}.fc1.bias": (f,)}
        shapes |= {f"{stem}.fc2.weight": (d, f), f"{stem}.fc2.bias": (d,)}
    shapes |= {"encoder.layer_norm.weight": (d,), "encoder.layer_norm.bias": (d,)}
    return {k: 0.3 * torch.randn(shape, generator=generator) for k, shape in shapes.items()}


def foreign(name: str) -> dict[str, Any]:
    """A checkpoint in fairseq's layout: hubert, hubert_large, data2vec or mt4ssl."""
    config = CONFIGS.get(name, TINY)
    state: dict[str, Any] = dict(layout(config))
    d = config.dim
    criterion: dict[str, Any] = {"_name": "model", "loss_weights": {}}
    if name.startswith("hubert"):
        state |= {"label_embs_concat": torch.rand(K + 4, 8), "final_proj.weight": torch.rand(8, d),
                  "final_proj.bias": torch.rand(8)}  # fmt: skip
        criterion = {"_name": "hubert", "loss_weights": [10.0]}
    else:
        state |= {"final_proj.weight": torch.rand(d, d), "final_proj.bias": torch.rand(d)}
        state["_ema"] = {key.removeprefix("encoder."): value + 0.5 for key, value in state.items()
                         if key.startswith("encoder.")}  # fmt: skip
    if name == "mt4ssl":
        state |= {"final_proj_hubert.weight": torch.rand(K + 4, d),
                  "final_proj_hubert.bias": torch.rand(K + 4)}  # fmt: skip
    names = {"data2vec": "data2vec_audio", "mt4ssl": "multi2vec_audio"}
    cfg = {
        "model": model_settings(config, names.get(name, "hubert")),
        "task": {"normalize": name != "hubert", "sample_rate": 16000},
        "criterion": criterion,
        "common": {"seed": 1},
    }
    return {"args": None, "cfg": cfg, "model": state, "optimizer_history": [{"num_updates": 3}]}


NAMES = ("hubert", "hubert_large", "data2vec", "mt4ssl")


@pytest.mark.parametrize("name", NAMES)
def test_in_and_out_again(name: str, tmp_path: Path) -> None:
    payload = foreign(name)
    torch.save(payload, tmp_path / "theirs.pt")
    convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    ours, config, stored = load_system(tmp_path / "ours.pt")
    assert stored["provenance"]["system_name"] == name.split("_")[0]
    assert config.model == CONFIGS.get(name, TINY)
    assert config.reading.normalise is (name != "hubert")
    state, own = payload["model"], ours.state_dict()
    qkv = [state[f"encoder.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    assert torch.equal(own["encoder.context.blocks.1.attention.qkv.weight"], torch.cat(qkv))
    if name.startswith("hubert"):
        assert torch.equal(own["offline_head.embeddings"], state["label_embs_concat"][4:])
        assert config.targets is not None and config.targets.feature_penalty == 10.0
    if name == "mt4ssl":
        assert torch.equal(own["offline_head.weight"], state["final_proj_hubert.weight"][4:])
        assert torch.equal(own["offline_head.bias"], state["final_proj_hubert.bias"][4:])
    if "_ema" in state:
        mine = own["teacher.context.blocks.0.ffn.fc1.bias"]
        assert torch.equal(mine, state["_ema"]["layers.0.fc1.bias"])
        # Positions are copied at every update, whatever the average holds.
        mine = own["teacher.context.pos_conv.convs.0.bias"]
        assert torch.equal(mine, state["encoder.pos_conv.0.0.bias"])
    convert("--to", "fairseq", tmp_path / "ours.pt", tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for key in ("label_embs_concat", "final_proj_hubert.weight", "final_proj_hubert.bias"):
        if key in state:  # what the special rows were is not kept
            assert not back["model"][key][:4].any()
            state[key][:4] = 0
    average = back["model"].pop("_ema", {})
    theirs = state.pop("_ema", {})
    theirs |= {key: state[f"encoder.{key}"] for key in theirs if key.startswith("pos_conv.")}
    same(average, theirs)
    same(back["model"], state)
    convert(tmp_path / "back.pt", tmp_path / "again.pt")
    again = load(tmp_path / "again.pt")
    assert again["config"] == stored["config"]
    if name.startswith("hubert"):
        same(again["model"], stored["model"])


@pytest.mark.parametrize("name", ["hubert", "hubert_large", "data2vec"])
def test_it_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    """fairseq cannot be installed beside this torch: its names are checked through another's."""
    transformers = pytest.importorskip("transformers")
    torch.save(foreign(name), tmp_path / "theirs.pt")
    convert("--to", "transformers", tmp_path / "theirs.pt", tmp_path / "hf")
    convert("--to", "trivium", tmp_path / "theirs.pt", tmp_path / "ours.pt")
    kind = "Data2VecAudioModel" if name == "data2vec" else "HubertModel"
    other = getattr(transformers, kind).from_pretrained(tmp_path / "hf").eval()
    x = waveform()
    ours, _, _ = load_system(tmp_path / "ours.pt")
    with torch.no_grad():
        expected = other(x).last_hidden_state
    torch.testing.assert_close(outputs(ours.encoder, x), expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("name", ["hubert", "data2vec", "mt4ssl"])
def test_out_of_a_training_and_back(name: str, tmp_path: Path) -> None:
    made = system(name)
    convert("--to", "fairseq", saved(tmp_path / "a.pt", made, name, False), tmp_path / "b.pt")
    convert(tmp_path / "b.pt", tmp_path / "c.pt")
    back, config, _ = load_system(tmp_path / "c.pt")
    expected = made.state_dict()
    for key in expected:
        if key.startswith("teacher.context.pos_conv."):
            expected[key] = expected[key.replace("teacher.", "encoder.")]
    same(back.state_dict(), expected)
    assert not config.reading.normalise
    assert config.targets == made.targets or name == "data2vec"


def test_heads_that_fairseq_does_not_have_are_refused(tmp_path: Path) -> None:
    offline = MT4SSL(TINY, replace(BOTH, online_weight=0.0), MaskConfig())
    with pytest.raises(UserError, match="no model of fairseq has these heads"):
        convert("--to", "fairseq", saved(tmp_path / "a.pt", offline, "offte"), tmp_path / "b.pt")


def test_another_teacher_than_ours_is_left_behind(tmp_path: Path, capsys) -> None:
    payload = foreign("data2vec")
    payload["model"]["_ema"] = {f"encoder.{k}": v for k, v in payload["model"]["_ema"].items()}
    torch.save(payload, tmp_path / "theirs.pt")
    convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert "begins as the student's copy" in capsys.readouterr().out
    own = load(tmp_path / "ours.pt")["model"]
    name = "context.blocks.0.ffn.fc1.bias"
    assert torch.equal(own[f"teacher.{name}"], own[f"encoder.{name}"])


class Dictionary:
    """What task_state of a HuBERT checkpoint holds."""

    def __init__(self) -> None:
        self.symbols = ["<s>", "<pad>"]


class Mode(enum.Enum):
    DEFAULT = "default"


class DictConfig:
    def __init__(self, content: dict[str, Any]) -> None:
        self._content = {k: AnyNode(v) if not isinstance(v, dict) else DictConfig(v)
                         for k, v in content.items()}  # fmt: skip
        self._parent = self  # in circles, as omegaconf's are


class AnyNode:
    def __init__(self, value: Any) -> None:
        self._val = value


class Trap:
    """Writes a file when a reader that runs code reads it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@contextmanager
def packages() -> Iterator[None]:
    """fairseq and omegaconf as far as pickling needs them; gone when the file is read."""
    places = {
        "fairseq.data.dictionary": [Dictionary],
        "fairseq.dataclass.constants": [Mode],
        "omegaconf.dictconfig": [DictConfig],
        "omegaconf.nodes": [AnyNode],
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, classes in places.items():
            made = types.ModuleType(module)
            patch.setitem(sys.modules, module.split(".")[0], types.ModuleType("top"))
            patch.setitem(sys.modules, module, made)
            for one in classes:
                setattr(made, one.__name__, one)
                patch.setattr(one, "__module__", module)
        yield


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("form", ["cfg", "omegaconf", "args"])
def test_objects_of_fairseq_are_data(form: str, zipped: bool, tmp_path: Path) -> None:
    payload = foreign("hubert")
    with packages():
        payload["task_state"] = {"dictionaries": [Dictionary()]}
        payload["cfg"]["model"]["extractor_mode"] = Mode.DEFAULT
        if form == "omegaconf":
            payload["cfg"] = DictConfig(payload["cfg"])
        if form == "args":
            settings = payload["cfg"]["model"] | payload["cfg"]["task"] | {"arch": "hubert"}
            payload |= {"cfg": None, "args": argparse.Namespace(**settings)}
        torch.save(payload, tmp_path / "theirs.pt", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    _, config, _ = load_system(tmp_path / "ours.pt")
    assert config.model == HUBERT
    assert not config.reading.normalise


@pytest.mark.parametrize("zipped", [True, False])
def test_other_objects_are_refused_and_nothing_runs(zipped: bool, tmp_path: Path) -> None:
    payload = foreign("hubert") | {"extra": Trap(tmp_path / "ran")}
    torch.save(payload, tmp_path / "theirs.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"names \w+\.open, which.* torch.save those two") as caught:
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert "\n" not in str(caught.value)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["theirs.pt"]
    (tmp_path / "theirs.pt").write_bytes((tmp_path / "theirs.pt").read_bytes()[:300])
    with pytest.raises(UserError, match="not a readable file of weights"):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"activation_fn": "relu"}, "activation_fn = 'relu'"),
        ({"layer_type": "conformer"}, "layer_type = 'conformer'"),
        ({"extractor_mode": "batch"}, "extractor_mode = 'batch'"),
        ({"conv_feature_layers": "[(16, 10, 5)] * 7"}, "conv_feature_layers"),
        ({"conv_feature_layers": "__import__('os').getcwd()"}, "conv_feature_layers"),
        ({"encoder_layers": 3}, r"lacks encoder.layers.2"),
        ({"encoder_layers": 10**9}, "layers = 1000000000"),
        ({"encoder_embed_dim": "wide"}, "makes no model"),
        ({"encoder_ffn_embed_dim": 65}, r"of another shape encoder.layers.0.fc1.weight \(64, 32\)"),
        ({"conv_bias": True}, r"lacks feature_extractor.conv_layers.0.0.bias"),
    ],
)
def test_settings_that_ours_cannot_be(change: dict, told: str, tmp_path: Path) -> None:
    payload = foreign("mt4ssl")
    payload["cfg"]["model"] |= change
    torch.save(payload, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=told):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")


def test_names_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    payload = foreign("hubert")
    payload["model"]["quantizer.vars"] = payload["model"].pop("final_proj.bias")
    torch.save(payload, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=r"lacks final_proj.bias; unexpected quantizer.vars"):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    del payload["cfg"]
    torch.save(payload, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match="no configuration of a model under 'cfg' or 'args'"):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")


def test_what_is_left_of_a_head_is_left_behind(tmp_path: Path, capsys) -> None:
    payload = foreign("hubert")
    payload["cfg"]["task"]["labels"] = ["km", "phn"]
    torch.save(payload, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match="2 sets of labels"):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    del payload["model"]["label_embs_concat"]
    torch.save(payload, tmp_path / "theirs.pt")
    convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert "final_proj is left behind" in capsys.readouterr().out
    stored = load(tmp_path / "ours.pt")
    assert stored["provenance"]["heads"] is False
    assert not stored["model"]["offline_head.weight"].any()
    convert("--to", "fairseq", tmp_path / "ours.pt", tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)["model"]
    same(back, {k: v for k, v in payload["model"].items() if not k.startswith("final_proj")})


def test_a_reference_to_another_setting_is_not_followed(tmp_path: Path) -> None:
    payload = foreign("data2vec")
    payload["cfg"]["model"]["ema_anneal_end_step"] = "${optimization.max_update}"
    torch.save(payload, tmp_path / "theirs.pt")
    convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert load(tmp_path / "ours.pt")["config"]["targets"]["ema_anneal"] == 100000


def test_the_published_settings_are_ours() -> None:
    """HuBERT Base and data2vec Base as their released files tell them."""
    convs = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    base = {"encoder_layerdrop": 0.05, "conv_feature_layers": convs}
    found = encoder_from_fairseq({**base, "extractor_mode": "layer_norm", "pos_conv_depth": 5,
                                  "conv_pos": 95})  # fmt: skip
    assert found == EncoderConfig(mask_pos_conv=False)
