"""A decoded directory without any decoder: data/<set>, exp/<run>/decode_<set>_<how>."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir
from pylib.corpus.tables import write_table


class Workplace:
    """Makes data directories and decode directories below the current directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str, text: dict[str, str], speakers: dict[str, str]) -> Path:
        import soundfile

        rng = np.random.default_rng(0)
        (self.root / "wav").mkdir(exist_ok=True)
        for utt in text:
            tone = 0.1 * rng.standard_normal(8000)
            soundfile.write(self.root / "wav" / f"{utt}.wav", tone, 16000)
        write_datadir(
            Path("data") / name,
            wav={u: f"wav/{u}.wav" for u in text},
            utt2spk=speakers,
            text=text,
            utt2dur=dict.fromkeys(text, 0.5),
            utt2num_samples=dict.fromkeys(text, 8000),
        )
        return Path("data") / name

    def decoded(
        self, run: str, name: str, hyps: dict[str, str], decode: str = "greedy", **fields: object
    ) -> Path:
        """exp/<run>/decode_<name>_<decode>; fields go into run.json."""
        directory = Path("exp") / run / f"decode_{name}_{decode}"
        directory.mkdir(parents=True, exist_ok=True)
        about = {"system": run, "seed": 1, "preset": "mini", "parameters": 1234} | fields
        write_json(directory.parent / "run.json", about)
        write_table(directory / "hyp", hyps)
        settings = {"set": name, "decode": decode, "data": f"data/{name}", "empty": 0}
        tuned = {"set": "dev", "wer": 1.0, "overridden": []}
        options = {"lm_weight": 2.0, "word_score": -1.0, "beam": 50}
        if decode == "lm":
            settings |= {"tuned": tuned, "options": options, "lm": {"order": 4, "made_by": "x"}}
        write_json(directory / "decode.json", settings)
        return directory


@pytest.fixture(scope="session")
def make_workplace() -> type[Workplace]:
    return Workplace


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path)
