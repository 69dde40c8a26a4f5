"""The training and development sets of whichever system is trained."""

from __future__ import annotations

from pathlib import Path

from pylib.training.av_data import AVSet, check_units, open_av
from pylib.training.config import TrainConfig
from pylib.training.data import SpeechSet, check_same_units, open_set
from pylib.training.phone_data import PhoneSet, open_phones
from pylib.training.segment_data import SegmentSet, check_sets, open_segments

AnySet = SpeechSet | SegmentSet | AVSet | PhoneSet
Sets = tuple[AnySet, AnySet | None]


def open_sets(train: Path, dev: Path, config: TrainConfig) -> Sets:
    """Open and check both; the second is None without validation.

    Raises:
        UserError: what the system needs is missing, does not fit it, or differs between the two.
    """
    if config.segments is not None:
        return _segment_sets(train, dev, config)
    if config.av_data is not None:
        return _av_sets(train, dev, config)
    if config.phone_data is not None:
        return _phone_sets(train, dev, config)
    train_set = open_set(train, config, training=True)
    if not config.run.validate_every:
        return train_set, None
    dev_set = open_set(dev, config, training=False)
    check_same_units(train_set, dev_set)
    return train_set, dev_set


def _segment_sets(train: Path, dev: Path, config: TrainConfig) -> Sets:
    if not config.run.validate_every:
        return open_segments(train, config, training=True), None
    other = open_segments(dev, config, training=False)
    segments = open_segments(train, config, training=True, without=set(other.utts))
    check_sets(segments, other)
    return segments, other


def _av_sets(train: Path, dev: Path, config: TrainConfig) -> Sets:
    train_set = open_av(train, config, training=True)
    if not config.run.validate_every:
        return train_set, None
    dev_set = open_av(dev, config, training=False)
    check_units(train_set.parts[0], dev_set.parts[0])
    return train_set, dev_set


def _phone_sets(train: Path, dev: Path, config: TrainConfig) -> Sets:
    train_set = open_phones(train, config, training=True)
    if not config.run.validate_every:
        return train_set, None
    dev_set = open_phones(dev, config, training=False)
    check_same_units(train_set, dev_set)
    return train_set, dev_set
