"""What validation of pre-training tells of the representation: rank, PNMI, bands to compare with.

Brute force: singular values of all masked frames at once, and frames counted one by one.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.nn.loss import LossOutput
from pylib.nn.masks import draw_mask
from pylib.systems.mt4ssl import MT4SSL, Judged
from pylib.training import loop, validation
from pylib.training.build import build_system
from pylib.training.config import TrainConfig, load_config
from pylib.training.data import SpeechSet, open_set
from pylib.training.distributed import single
from pylib.training.health import bands
from pylib.training.representation import PhoneJudge, effective_rank
from pylib.training.session import Request, train
from pylib.training.step import Updater, make_optimizer, seed_micro
from pylib.units.quality import joint_table, pnmi
from tests.training.helpers import CLUSTERS, ROOT, same_state

PHONES = ("SIL", "AA", "T")
CONF = ROOT / "egs" / "librispeech" / "conf"


def entropy_rank(values: np.ndarray) -> float:
    share = values[values > 0] / values.sum()
    return math.exp(-(share * np.log(share)).sum())


def add_phones(data: Path, without: str = "") -> None:
    """phones.ctm of phones of 0.11 s that take turns, but for the utterance `without`."""
    lines = []
    for number, utt in enumerate(sorted(DataDir.load(data).utts)):
        for i in range(40 if utt != without else 0):
            lines.append(f"{utt} 1 {i * 0.11:.2f} 0.11 {PHONES[(i + number) % 3]}\n")
    (data / "phones.ctm").write_text("".join(lines), encoding="utf-8")


def opened(sets: tuple[Path, Path], path: Path) -> tuple[TrainConfig, MT4SSL, SpeechSet, Updater]:
    config = load_config(path).config
    torch.manual_seed(0)
    system = build_system(config)
    assert isinstance(system, MT4SSL)
    updater = Updater(
        system, make_optimizer(system, config.optim), config.optim, config.run, single()
    )
    return config, system, open_set(sets[1], config, training=False), updater


def brute(config: TrainConfig, system: MT4SSL, dev: SpeechSet) -> tuple[Tensor, list, list]:
    """All masked frames (M, D), and of each its (phone, predicted unit) and (phone, label)."""
    system.eval()
    assert config.mask is not None and system.offline_head is not None
    generator, rows, predicted, labels = torch.Generator(), [], [], []
    phones = {}
    for line in (dev.path / "phones.ctm").read_text(encoding="utf-8").splitlines():
        utt, _, start, _, name = line.split()
        phones.setdefault(utt, []).append((float(start), name))
    for index in range(dev.plan.batches_per_epoch):
        batch = dev.batch(index)
        seed_micro(validation._SEED, index, generator)
        frames = system.encoder.frame_lengths(batch.input_lengths)
        mask = draw_mask(frames, config.mask, generator)
        with torch.no_grad():
            hidden, _ = system.encoder(batch, mask)
            best = system.offline_head(hidden).argmax(2)
        rows.append(hidden[mask])
        for row, utt in enumerate(batch.utts):
            for t in mask[row].nonzero().flatten().tolist():
                # Four filter-bank frames of 10 ms; the middle one, of 25 ms, decides.
                middle = (4 * t + 2) * 0.01 + 0.0125
                name = [name for start, name in phones.get(utt, []) if start <= middle]
                if name and middle < phones[utt][-1][0] + 0.11:
                    predicted.append((PHONES.index(name[-1]), int(best[row, t])))
                    labels.append((PHONES.index(name[-1]), int(batch.labels[row, t])))
    return torch.cat(rows), predicted, labels


def table_of(pairs: list[tuple[int, int]]) -> np.ndarray:
    ids = np.array(pairs)
    return joint_table(ids[:, 0], ids[:, 1], len(PHONES), CLUSTERS)


def test_effective_rank_in_closed_form() -> None:
    assert effective_rank(torch.eye(7).double()) == pytest.approx(7)
    one = torch.randn(5, 1).double()
    assert effective_rank(one @ one.T) == pytest.approx(1, abs=1e-5)
    shares = np.array([0.5, 0.25, 0.125, 0.125, 0.0])  # of singular values: roots of eigenvalues
    expected = 2**1.75
    assert effective_rank(torch.from_numpy(np.diag(shares**2))) == pytest.approx(expected)
    assert effective_rank(torch.from_numpy(np.diag(9 * shares**2))) == pytest.approx(expected)
    assert effective_rank(torch.zeros(3, 3).double()) == 0
    assert math.isnan(effective_rank(torch.full((3, 3), float("nan")).double()))


@pytest.mark.parametrize("frames", [5, 200])
def test_effective_rank_is_that_of_the_singular_values(frames: int) -> None:
    """With fewer frames than dimensions, too; not centred, as RankMe."""
    x = torch.randn(frames, 16, dtype=torch.float64) * torch.linspace(0.01, 2, 16) + 1
    expected = entropy_rank(torch.linalg.svdvals(x).numpy())
    assert effective_rank(x.T @ x) == pytest.approx(expected, rel=1e-5)
    assert expected <= min(frames, 16)


def test_validation_equals_brute_force(sets, config_file) -> None:
    """Over several batches: rank of all masked frames, PNMI of their units and labels."""
    path = config_file(data__batch_seconds=4.0)
    config, system, dev, updater = opened(sets, path)
    absent = sorted(dev.utts[row] for row in dev.plan.kept)[1]
    add_phones(sets[1], without=absent)
    judge = PhoneJudge.of(dev, CLUSTERS)
    assert judge is not None and absent not in judge.times
    assert dev.plan.batches_per_epoch > 2
    numbers = validation.validate(system, dev, updater, single(), phones=judge)
    plain = validation.validate(system, dev, updater, single())
    assert system.training
    frames, predicted, labels = brute(config, system, dev)
    svd = torch.linalg.svdvals(frames.double()).numpy()
    assert numbers["student_rank"] == pytest.approx(entropy_rank(svd), rel=1e-4)
    assert 1 < numbers["student_rank"] < 32
    assert numbers["pred_pnmi"] == pytest.approx(pnmi(table_of(predicted)), rel=1e-9)
    assert numbers["label_pnmi"] == pytest.approx(pnmi(table_of(labels)), rel=1e-9)
    assert plain == {k: v for k, v in numbers.items() if not k.endswith("pnmi")}


def test_tables_add_up_over_processes(sets, config_file, monkeypatch) -> None:
    """Two processes that share the set out have the sums of one."""
    _, system, dev, updater = opened(sets, config_file(data__batch_seconds=4.0))
    add_phones(sets[1])
    judge = PhoneJudge.of(dev, CLUSTERS)
    whole = validation.validate(system, dev, updater, single(), phones=judge)
    seen = []

    def keep(metrics, where):
        seen.append(dict(metrics))
        return metrics

    monkeypatch.setattr(validation, "reduce_metrics", keep)
    for rank in range(2):
        where = validation.Processes(rank, 2, torch.device("cpu"))
        validation.validate(system, dev, updater, where, phones=judge)
    both = validation.add_metrics(seen)
    assert validation.representation.numbers(both) == pytest.approx(
        {k: whole[k] for k in ("student_rank", "pred_pnmi", "label_pnmi")}, rel=1e-9
    )


def test_only_evaluation_is_judged(sets, config_file) -> None:
    """An update computes nothing of this; without offline targets there are no units."""
    _, system, dev, _ = opened(sets, config_file())
    assert type(system(dev.batch(0), torch.Generator())) is LossOutput
    system.eval()
    out = system(dev.batch(0), torch.Generator().manual_seed(3))
    assert isinstance(out, Judged) and out.units is not None
    assert int((out.units >= 0).sum()) == int(out.count)
    assert out.gram.dtype == torch.float64 and out.gram.shape == (32, 32)
    _, system, dev, updater = opened(sets, config_file(targets__offline_weight=0.0))
    add_phones(sets[1])
    assert PhoneJudge.of(dev, CLUSTERS) is None
    system.eval()
    assert system(dev.batch(0), torch.Generator()).units is None
    numbers = validation.validate(system, dev, updater, single())
    assert numbers["student_rank"] > 1 and "pred_pnmi" not in numbers


def go(sets: tuple[Path, Path], path: Path, folder: Path) -> list[dict]:
    assert train(Request(*sets, folder, path, device="cpu")) == 0
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["type"] == "dev"]


def test_a_run_logs_them_and_the_bands(sets, config_file, tmp_path, monkeypatch) -> None:
    """Weights do not depend on whether there are phones."""
    path = config_file()
    bare = go(sets, path, tmp_path / "bare")
    add_phones(sets[1])
    monkeypatch.setattr(loop, "bands", lambda config: [f"band of {config.system}"])
    rows = go(sets, path, tmp_path / "exp")
    new = {"pred_pnmi", "label_pnmi"}
    assert all(row.keys() == old.keys() | new for row, old in zip(rows, bare, strict=True))
    for row, old in zip(rows, bare, strict=True):
        assert {k: v for k, v in row.items() if k not in new | {"seconds"}} == {
            k: v for k, v in old.items() if k != "seconds"
        }
    log = (tmp_path / "exp" / "train.log").read_text(encoding="utf-8")
    assert log.count("for comparison: band of mt4ssl") == len(rows)
    assert "student_rank" in log and "pred_pnmi" in log
    states = [tmp_path / name / "checkpoint_last.pt" for name in ("bare", "exp")]
    assert same_state(*states) == []


def test_phones_that_cannot_be_read_are_refused_at_once(sets, config_file, tmp_path) -> None:
    (sets[1] / "phones.ctm").write_text("u 1 0.0 AA\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"phones.ctm:1: "):
        go(sets, config_file(), tmp_path / "exp")
    assert not (tmp_path / "exp" / "metrics.jsonl").exists()


def test_phones_of_other_utterances_are_told_of(sets, config_file, caplog) -> None:
    _, _, dev, _ = opened(sets, config_file())
    (sets[1] / "phones.ctm").write_text("other 1 0.0 0.1 AA\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "train"):
        assert PhoneJudge.of(dev, CLUSTERS) is None
    assert f"has 0 of {len(dev.plan.kept)} utterances" in caplog.text


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("hubert_base", (), ".365 at 250k"),
        ("hubert_base", ("targets.clusters=500",), ".383 at 250k"),
        ("mt4ssl_base", (), ".383 at 250k"),
        ("offte_base", (), "at 0.65 expect more"),
        ("mt4ssl_base", ("targets.clusters=2000",), ""),
        ("data2vec_base", (), ""),
        ("hubert_large", (), ""),
        ("hubert_mini", (), ""),
        ("mt4ssl_smoke", (), ""),
        ("ctc_base_10h", (), ""),
    ],
)
def test_bands_belong_to_base_models_with_hubert_labels(name, overrides, expected) -> None:
    lines = bands(load_config(CONF / f"{name}.toml", overrides).config)
    assert bool(lines) == bool(expected)
    assert expected in " ".join(lines)
    if name == "hubert_base":
        assert "expect more" not in " ".join(lines)
