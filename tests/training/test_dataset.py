"""Micro-batches as tensors: crops, labels and letters belong together; errors reach the loop."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.nn.encoder import EncoderConfig
from pylib.training.batches import BatchPlan
from pylib.training.dataset import BatchMaker, Loader
from pylib.training.inputs import InputReader
from pylib.training.settings import DataConfig
from pylib.training.targets import LabelStore
from tests.training.helpers import CLUSTERS, PRETRAIN, make_set

LENGTHS = list(np.random.default_rng(5).uniform(0.6, 2.0, 12))


def parts(folder: Path, frontend: str, crop: str) -> tuple[BatchPlan, BatchMaker]:
    data = make_set(folder, "train", LENGTHS, 1, frontend)
    model = EncoderConfig(**PRETRAIN["model"] | {"frontend": frontend})
    reader = InputReader(DataDir.load(data), model, normalise=False)
    config = DataConfig(min_seconds=0.5, max_seconds=1.5, batch_seconds=5.0, crop=crop)  # type: ignore[arg-type]
    lengths = np.array([reader.lengths[utt] for utt in reader.data.utts])
    plan = BatchPlan(lengths, reader.rate, reader.hop, 3, config, crop=True)
    return plan, BatchMaker(
        reader, reader.data.utts, LabelStore(reader, reader.data.utts, CLUSTERS), threads=2
    )


@pytest.mark.parametrize("frontend", ["waveform", "fbank"])
@pytest.mark.parametrize("crop", ["start", "random_aligned"])
def test_labels_follow_the_crop(frontend: str, crop: str, tmp_path: Path) -> None:
    plan, make = parts(tmp_path, frontend, crop)
    reader, labels = make.reader, make.labels
    shifted = 0
    for index in range(2 * plan.batches_per_epoch):
        planned = plan.batch(index)
        batch = make(planned)
        frames = reader.frames(planned.length)
        assert batch.labels is not None and labels is not None
        assert batch.labels.shape == (len(batch), frames)
        assert batch.inputs.shape[1] == planned.length
        for row, utt in enumerate(batch.utts):
            first = int(planned.starts[row]) // reader.hop
            shifted += first > 0
            whole = labels.get(utt, 0, reader.frames(reader.lengths[utt]))
            assert batch.labels[row].tolist() == whole[first : first + frames].tolist()
            piece = reader.read(utt)[planned.starts[row] :][: planned.length]
            assert np.array_equal(batch.inputs[row].numpy(), piece)
    assert (shifted > 0) == (crop == "random_aligned")


def test_letters_are_padded(tmp_path: Path) -> None:
    plan, maker = parts(tmp_path, "fbank", "start")
    tokens = {utt: list(range(4, 5 + number)) for number, utt in enumerate(maker.utts)}
    config = replace(plan.config, max_seconds=0.0)
    whole = BatchPlan(plan.lengths, plan.rate, plan.hop, 1, config, crop=False)
    batch = BatchMaker(maker.reader, maker.utts, tokens=tokens)(whole.batch(0))
    assert batch.tokens is not None and batch.token_lengths is not None
    for row, utt in enumerate(batch.utts):
        count = int(batch.token_lengths[row])
        assert batch.tokens[row, :count].tolist() == tokens[utt]
        assert not batch.tokens[row, count:].any()
        assert not batch.inputs[row, batch.input_lengths[row] :].any()


def test_loader_keeps_order_and_measures_waiting(tmp_path: Path) -> None:
    plan, make = parts(tmp_path, "fbank", "start")

    def slow(planned):
        time.sleep(0.02)
        return make(planned)

    loader = Loader(range(1, 12, 2), plan, slow, ahead=2)
    got = [loader.next() for _ in range(6)]
    assert [index for index, _ in got] == [1, 3, 5, 7, 9, 11]
    for index, batch in got:
        assert torch.equal(batch.inputs, make(plan.batch(index)).inputs)
    assert loader.waited > 0.05
    loader.close()


def test_errors_of_the_thread_reach_the_loop(tmp_path: Path) -> None:
    plan, _ = parts(tmp_path, "fbank", "start")

    def broken(planned):
        raise UserError("utt7: truncated")

    loader = Loader(range(5), plan, broken, ahead=2)
    with pytest.raises(UserError, match="utt7: truncated"):
        loader.next()
    loader.close()


def test_closing_ends_the_thread(tmp_path: Path) -> None:
    plan, make = parts(tmp_path, "fbank", "start")
    before = threading.active_count()
    loader = Loader(range(10_000), plan, make, ahead=2)
    loader.next()
    loader.close()
    assert threading.active_count() <= before + 2  # the readers of the pool may idle
