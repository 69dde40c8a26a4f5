"""Readers of lists, noise, hypotheses, scores, phone times and latents."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.mutations.case import HERE, Reader
from tests.mutations.corpus_readers import TEXT, bin_main, lines_of
from tests.mutations.model_readers import write

UTT2SPK = {f"{spk}-{n}": spk for spk in "abc" for n in range(4)}


def make_lists() -> None:
    from pylib.corpus.pairs import PairOptions, make_pairs, write_pairs
    from pylib.corpus.trials import make_trials, write_trials

    write_trials(HERE / "trials", make_trials(UTT2SPK, {"a": "m", "b": "f"}).trials)
    options = PairOptions(2, 2, 2, 2)
    write_pairs(HERE / "pairs", make_pairs(UTT2SPK, options=options).pairs)


def read_trial_list() -> Any:
    from pylib.corpus.trials import read_trials

    read_trials(HERE / "trials")
    return read_trials(HERE / "trials", UTT2SPK)


def check_trials(trials: Any) -> str:
    if any((UTT2SPK[t.enrol] == UTT2SPK[t.test]) != t.target for t in trials):
        return "a trial contradicts utt2spk"
    return "" if len(trials) == len(lines_of(HERE / "trials")) else "not a trial a line"


def read_pair_list() -> Any:
    from pylib.corpus.pairs import read_pairs

    read_pairs(HERE / "pairs")
    return read_pairs(HERE / "pairs", UTT2SPK)


def check_pairs(pairs: Any) -> str:
    good = all(UTT2SPK[ref] == p.target != UTT2SPK[p.source] for p in pairs for ref in p.references)
    return "" if good and len(pairs) == len(lines_of(HERE / "pairs")) else "not a pair a line"


def make_noise() -> None:
    from pylib.corpus.audio import write_audio
    from pylib.corpus.tables import write_table
    from tests.mutations.corpus_readers import sound

    HERE.mkdir(exist_ok=True)
    for category in ("babble", "music"):
        paths = {f"{category}{n}": str(HERE / f"{category}{n}.wav") for n in range(3)}
        for number, path in enumerate(paths.values()):
            write_audio(path, sound(2000, number), 16000)
        write_table(HERE / f"{category}.test.scp", paths)


def read_noise() -> Any:
    from pylib.features.noise import Condition, NoiseSet
    from tests.mutations.corpus_readers import sound

    noise = NoiseSet(HERE, "test")
    out = [noise.read(category, name) for category in noise.categories
           for name in noise.tables[category]]  # fmt: skip
    speech = sound(1000)
    return [*out, noise.apply(speech, Condition.parse("babble:-5"), "a-1", 1)]


def check_noise(found: Any) -> str:
    good = all(len(x) and np.isfinite(x).all() and len(x) < 1 << 20 for x in found)
    return "" if good else "noise that is empty or not finite"


def make_hypotheses() -> None:
    from pylib.corpus.tables import write_table
    from tests.mutations.corpus_readers import make_data

    make_data("d")
    write_table(HERE / "exp" / "decode_d" / "hyp", {**TEXT, "a-1": "HELLO THE WORLD"})
    write("exp/decode_d/decode.json", '{"set": "d", "decode": "greedy", "beam": 4}')
    write("exp/run.json", '{"system": "ctc", "seed": 1, "preset": "smoke"}')


def score() -> None:
    bin_main("score_wer", "ex/d", "ex/exp/decode_d")


def check_score(_: Any) -> str:
    from pylib.scoring.score_files import read_score

    for measure in ("wer", "cer"):
        content, _ = read_score(HERE / "exp" / "decode_d" / "scoring" / f"{measure}.json")
        if not math.isfinite(content["value"]):
            return f"{measure} {content['value']}"
    return ""


def make_scores() -> None:
    make_hypotheses()
    score()


def collect_scores() -> Any:
    from pylib.scoring.collect import collect
    from pylib.scoring.score_files import read_score

    found = collect(HERE / "exp")
    return found.rows, read_score(Path("ex/exp/decode_d/scoring/wer.json"))


def check_rows(found: Any) -> str:
    rows, _ = found
    good = all(math.isfinite(row["value"]) for row in rows)
    return "" if good and len(rows) == 2 else f"{len(rows)} rows"


def make_phone_times() -> None:
    lines = [f"{u} 1 {0.1 * n:.2f} 0.10 {p}\n" for u in "ab" for n, p in enumerate("PQRST")]
    write("phones.ctm", "".join(lines))


def read_phone_times() -> Any:
    from pylib.units.phones import read_phones

    return read_phones(HERE / "phones.ctm")


def check_phone_times(found: Any) -> str:
    good = all(np.isfinite(t.starts).all() and (t.ends >= t.starts).all() for t in found.values())
    return "" if good else "times that are no times"


def make_latents() -> None:
    from pylib.corpus.ark import ArkWriter
    from pylib.corpus.tables import write_table

    HERE.mkdir(exist_ok=True)
    write_table(HERE / "utt2spk", UTT2SPK)
    with ArkWriter(HERE / "z.ark", HERE / "svector.scp") as writer:
        for number, utt in enumerate(UTT2SPK):
            writer.write(utt, np.arange(4, dtype=np.float32) + number)
    write(
        "latents.json", '{"system": "fhvae", "seed": 1, "checkpoint_sha256": "0", "excluded": []}'
    )


def read_latent_vectors() -> Any:
    from pylib.scoring.latents import read_latents

    return read_latents(HERE, "svector")


def check_latents(found: Any) -> str:
    good = np.isfinite(found.matrix).all() and len(found.matrix) == len(found.utts)
    return "" if good else "vectors that are not finite"


HYP = ("exp/decode_d/hyp", "exp/decode_d/decode.json", "exp/run.json", "d/text", "d/utt2spk")
SCORED = ("wer.json", "wer.json", "cer.json", "per_utt.json", "per_utt.json")
READERS = (
    Reader("noise lists", "noise of finite samples",
           make_noise, read_noise, check_noise, ("babble.test.scp", "music.test.scp")),
    Reader("hypotheses", "finite rates, which can be read back",
           make_hypotheses, score, check_score, HYP, ("ex/exp/decode_d/scoring/",), True),
    Reader("scores", "two finite rates, totals as in the list of utterances",
           make_scores, collect_scores, check_rows,
           tuple(f"exp/decode_d/scoring/{name}" for name in SCORED)),
    Reader("phone times", "times that do not run backwards",
           make_phone_times, read_phone_times, check_phone_times, ("phones.ctm",)),
    Reader("latents", "finite vectors of one size",
           make_latents, read_latent_vectors, check_latents,
           ("svector.scp", "z.ark", "latents.json", "utt2spk")),
    Reader("trials", "a trial a line, agreeing with utt2spk",
           make_lists, read_trial_list, check_trials, ("trials",)),
    Reader("pairs", "a pair a line, references of the target",
           make_lists, read_pair_list, check_pairs, ("pairs",)),
)  # fmt: skip
