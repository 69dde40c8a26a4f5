"""torchaudio's HuBERT: forward parity both ways, names, what its files do not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchaudio

from pylib.bin.convert_checkpoint import main
from pylib.corpus.errors import UserError
from pylib.nn.conv_frontend import KERNELS, STRIDES
from pylib.nn.encoder import EncoderConfig
from pylib.training.checkpoint import load, load_system
from tests.interop.models import CONFIGS, K, outputs, same, saved, shaken, system, waveform

ATOL = 2e-5
NAMES = ("hubert", "hubert_large")


def convert(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def common(config: EncoderConfig) -> dict:
    """Arguments that both of torchaudio's builders take."""
    convs = [(config.conv_dim, k, s) for k, s in zip(KERNELS, STRIDES, strict=True)]
    return {
        "extractor_mode": f"{config.conv_norm}_norm",
        "extractor_conv_layer_config": convs,
        "extractor_conv_bias": config.conv_bias,
        "encoder_embed_dim": config.dim,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": config.pos_conv_width,
        "encoder_pos_conv_groups": config.pos_conv_groups,
        "encoder_num_layers": config.layers,
        "encoder_num_heads": config.heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": config.ffn_dim,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": config.norm == "pre",
        "encoder_layer_drop": 0.0,
    }


def bare(config: EncoderConfig, aux: int | None = None):
    made = torchaudio.models.wav2vec2_model(**common(config), aux_num_out=aux)
    return shaken(made)


def pretrain(config: EncoderConfig):
    made = torchaudio.models.hubert_pretrain_model(
        **common(config), mask_prob=0.8, mask_selection="static", mask_other=0.0, mask_length=2,
        no_mask_overlap=False, mask_min_space=1, mask_channel_prob=0.0,
        mask_channel_selection="static", mask_channel_other=0.0, mask_channel_length=10,
        no_mask_channel_overlap=False, mask_channel_min_space=1, skip_masked=False,
        skip_nomask=False, num_classes=K, final_dim=8, feature_grad_mult=0.1,
    )  # fmt: skip
    return shaken(made)


def hidden(model, x: torch.Tensor) -> torch.Tensor:
    """Last layer (B, T, D) of torchaudio's encoder."""
    with torch.no_grad():
        return model.extract_features(x)[0][-1] if model.aux else model(x)[0]


# With an output layer torchaudio's model gives hidden layers before the closing norm only, which
# large models have.
@pytest.mark.parametrize(("name", "aux"), [("hubert", None), ("hubert_large", None), ("hubert", 5)])
def test_in_from_the_encoder(name: str, aux: int | None, tmp_path: Path, capsys) -> None:
    theirs = bare(CONFIGS[name], aux)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    convert("--heads", 4, tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert ("aux" in capsys.readouterr().out) is bool(aux)
    ours, config, payload = load_system(tmp_path / "ours.pt")
    assert config.reading.normalise is (name == "hubert_large")
    assert config.model == replace(CONFIGS[name], layerdrop=config.encoder.layerdrop)
    assert payload["provenance"]["heads"] is False
    x = waveform()
    torch.testing.assert_close(outputs(ours.encoder, x), hidden(theirs, x), atol=ATOL, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_pre_training_model_in_and_out(name: str, tmp_path: Path) -> None:
    theirs = pretrain(CONFIGS[name])
    state = theirs.state_dict()
    torch.save(state, tmp_path / "theirs.pt")
    convert("--heads", 4, tmp_path / "theirs.pt", tmp_path / "ours.pt")
    ours, config, _ = load_system(tmp_path / "ours.pt")
    x = waveform()
    expected = hidden(theirs.wav2vec2, x)
    torch.testing.assert_close(outputs(ours.encoder, x), expected, atol=ATOL, rtol=0)
    assert config.targets is not None and config.targets.clusters == K
    # The head: torchaudio puts the positive first and divides by the same temperature.
    codes = theirs.logit_generator
    frames = expected[0]
    with torch.no_grad():
        projected = codes.final_proj(frames)
        cosine = torch.cosine_similarity(projected[:, None], codes.label_embeddings[None], dim=2)
        torch.testing.assert_close(ours.offline_head(frames), cosine / 0.1, atol=1e-4, rtol=0)
    convert("--to", "torchaudio", tmp_path / "ours.pt", tmp_path / "back.pt")
    same(torch.load(tmp_path / "back.pt", weights_only=True), state)


@pytest.mark.parametrize("name", NAMES)
def test_out_of_a_training(name: str, tmp_path: Path) -> None:
    made = system(name)
    convert("--to", "torchaudio", saved(tmp_path / "a.pt", made, "hubert"), tmp_path / "b.pt")
    theirs = pretrain(CONFIGS[name])
    theirs.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))
    x = waveform()
    torch.testing.assert_close(
        hidden(theirs.wav2vec2, x), outputs(made.encoder, x), atol=ATOL, rtol=0
    )
    linear = system("mt4ssl", CONFIGS[name])
    convert("--to", "torchaudio", saved(tmp_path / "a.pt", linear, "mt4ssl"), tmp_path / "b.pt")
    alone = bare(CONFIGS[name])
    alone.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))
    torch.testing.assert_close(hidden(alone, x), outputs(linear.encoder, x), atol=ATOL, rtol=0)


def test_older_names_of_the_weight_norm(tmp_path: Path) -> None:
    state = bare(CONFIGS["hubert"]).state_dict()
    table = {"parametrizations.weight.original0": "weight_g",
             "parametrizations.weight.original1": "weight_v"}  # fmt: skip
    for new, old in table.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    torch.save(state, tmp_path / "theirs.pt")
    convert("--heads", 4, tmp_path / "theirs.pt", tmp_path / "ours.pt")
    assert load(tmp_path / "ours.pt")["config"]["model"]["pos_conv_width"] == 128


def test_what_does_not_fit(tmp_path: Path) -> None:
    state = bare(CONFIGS["hubert"]).state_dict()
    torch.save(state, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=r"how many attention heads .* give --heads"):
        convert(tmp_path / "theirs.pt", tmp_path / "ours.pt")
    with pytest.raises(UserError, match=r"theirs.pt: .*heads"):
        convert("--heads", 5, tmp_path / "theirs.pt", tmp_path / "ours.pt")
    gone = "encoder.transformer.layers.1.attention.k_proj.bias"
    torch.save({k: v for k, v in state.items() if k != gone}, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=f"lacks {gone}"):
        convert("--heads", 4, tmp_path / "theirs.pt", tmp_path / "ours.pt")
    torch.save(state | {"quantizer.weight": torch.zeros(1)}, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=r"unexpected quantizer.weight"):
        convert("--heads", 4, tmp_path / "theirs.pt", tmp_path / "ours.pt")
