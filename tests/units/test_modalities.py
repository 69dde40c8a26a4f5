"""Modalities of a model: phones where they are, one space where it is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.modalities import (
    ModalOptions,
    analyse,
    available,
    candidate_groups,
    retrieval,
    segment_means,
)
from pylib.units.phones import read_phones
from tests.features.helpers import feature_dir

PHONES = 6
IDENTITY = {"system": "avhubert", "seed": 1, "set": "test"}


class Model:
    """Layer 1: sound and both are the phones, lips are halves of them; layer 0 is noise.

    A slow path of each utterance's own, in the last columns, is common to all modalities of layer
    1; in the lips it is moved to another place.
    """

    rate = 25.0

    def __init__(self, data: Path) -> None:
        self.times = read_phones(data / "phones.ctm")
        self.utts = sorted(self.times)

    def read_layers(
        self, utt: str, layers: Sequence[int], modalities: Collection[str] | None = None
    ) -> list[np.ndarray]:
        shown = set(modalities or ())
        ids = {f"P{i}": i for i in range(PHONES)}
        count = int(self.times[utt].ends[-1] * 25)
        phone = self.times[utt].at((np.arange(count) + 0.5) / 25, ids)
        key = list(utt.encode())
        path = np.random.default_rng(key).standard_normal((count, 4)).cumsum(axis=0)
        noise = np.random.default_rng([*key, len(shown), "video" in shown])
        if shown == {"video"}:
            phone, path = phone // 2, path + 40
        out = noise.standard_normal((count, PHONES + 4)).astype(np.float32)
        clear = 0.1 * out
        clear[:, :PHONES] += 30 * np.eye(PHONES)[phone]
        clear[:, PHONES:] += path
        return [out if layer == 0 else clear.astype(np.float32) for layer in layers]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    utts = [f"{speaker}-{i}" for speaker in "abc" for i in range(4)]
    made = feature_dir(tmp_path_factory.mktemp("set"), {utt: np.zeros((900, 2)) for utt in utts})
    lines = [
        f"{utt} 1 {0.12 * i:.2f} 0.12 P{rng.integers(PHONES)}\n" for utt in utts for i in range(75)
    ]
    (made / "phones.ctm").write_text("".join(lines))
    return made


def values(data: Path, **options: float) -> tuple[dict[tuple[str, str], float], list[dict]]:
    chosen = ModalOptions(clusters=PHONES, candidates=20, **options)  # type: ignore[arg-type]
    model = Model(data)
    found = analyse(model, data, [0, 1], ["av", "a", "v"], PHONES + 4, chosen, IDENTITY, "q.json")
    assert found.layer == 1 and found.details["clusters"] == PHONES
    return {(r["measure"], r["decode"]): r["value"] for r in found.rows}, found.rows


@pytest.fixture(scope="module")
def plain(data: Path) -> tuple[dict[tuple[str, str], float], list[dict]]:
    return values(data)


def test_phones_and_one_space(plain: tuple[dict[tuple[str, str], float], list[dict]]) -> None:
    found, rows = plain
    assert {name for _, name in found} == {
        f"layer{layer}/{name}" for layer in (0, 1) for name in ("av", "a", "v", "a->v", "v->a")
    }
    assert found["pnmi", "layer1/a"] == pytest.approx(1, abs=0.01)
    assert found["pnmi", "layer1/av"] == pytest.approx(1, abs=0.01)
    # Three pairs of six phones: log 3 of log 6.
    assert found["pnmi", "layer1/v"] == pytest.approx(np.log(3) / np.log(6), abs=0.02)
    assert found["pnmi", "layer0/v"] < 0.05
    for name in ("a->v", "v->a"):
        assert found["retrieval", f"layer1/{name}"] > 0.5
        assert found["retrieval", f"layer0/{name}"] < 0.2  # chance is 1 in 20
    for item in rows:
        assert item["low"] <= item["value"] <= item["high"] + 1e-9 and item["n"] > 0
        assert (item["system"], item["seed"], item["file"]) == ("avhubert", 1, "q.json")


def test_little_memory_changes_nothing(
    data: Path, plain: tuple[dict[tuple[str, str], float], list[dict]]
) -> None:
    assert plain[0] == values(data, memory_gb=1e-6)[0]


def test_the_points_are_the_same_frames_in_each_modality(data: Path) -> None:
    options = ModalOptions(clusters=6, shown_phones=3, shown_frames=10)
    found = analyse(Model(data), data, [1], ["a", "v"], 10, options, IDENTITY, "q.json")
    assert found.points.shape == (60, 10)
    assert found.modalities == ["a"] * 30 + ["v"] * 30
    assert found.phones[:30] == found.phones[30:] and len(set(found.phones)) == 3


def test_retrieval_counts_firsts() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 8))
    everyone = [np.arange(50)]
    assert retrieval(x, 3 * x + 7, everyone).all()  # centred, and only the angle counts
    shifted = np.roll(x, 1, axis=0)
    assert not retrieval(x, shifted, everyone).any()
    part = retrieval(x, x, [np.arange(0, 10), np.arange(20, 30)])
    assert part.sum() == 20 and not part[10:20].any()
    # The same answer to all is no find.
    assert not retrieval(x, np.ones_like(x), everyone).any()


def test_groups_are_apart() -> None:
    groups = candidate_groups(105, 20, 1)
    joined = np.concatenate(groups)
    assert [len(group) for group in groups] == [20] * 5
    assert len(set(joined.tolist())) == 100
    assert sorted(candidate_groups(7, 20, 1)[0].tolist()) == list(range(7))


def test_segment_means() -> None:
    matrix = np.arange(14, dtype=np.float32).reshape(7, 2)
    np.testing.assert_array_equal(segment_means(matrix, 3, 2), [[2, 3], [8, 9]])


def test_available() -> None:
    assert available(("audio", "video")) == ["av", "a", "v"]
    assert available(("audio", "phone")) == ["a", "p"]
    assert available(()) == []


def test_refusals(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no modality"):
        analyse(Model(data), data, [0], [], 10, ModalOptions(), IDENTITY, "q.json")
    other = feature_dir(tmp_path, {"x-1": np.zeros((50, 2))})
    (other / "phones.ctm").write_text("x-1 1 0.0 0.4 P1\n")
    with pytest.raises(UserError, match="phones of"):
        analyse(Model(data), other, [0], ["a"], 10, ModalOptions(), IDENTITY, "q.json")
