"""The report of a recipe on latents and conversion: directions, seeds, pictures, players."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.bin import report
from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.scoring.collect import collect
from pylib.scoring.conversion_page import conversion_blocks, spectrogram
from pylib.scoring.measure_tables import key_table, markdown_table, sections, text_table
from pylib.scoring.measures import MEASURES, arrow, describe_row, measure_of
from pylib.scoring.pictures import latent_picture, principal_components
from tests.scoring.latent_dirs import latent_dir

VCTK = ["--recipe", "vctk", "--preset", "mini", "--corpus", "built-in easy"]


def row(system: str, seed: int | None, measure: str, decode: str, value: float, run: str = ""):
    name = run or f"{system}_{seed}"
    return {
        "system": system, "seed": seed, "set": "unseen", "measure": measure, "decode": decode,
        "value": value, "low": value - 1, "high": value + 1, "n": 10,
        "file": f"exp/{name}/quality_sv.json",
    }  # fmt: skip


ROWS = [
    *(row("fhvae", s, "eer", "svector/cosine", 20.0 + s) for s in (1, 2, 3)),
    *(row("contrastive", s, "eer", "svector/cosine", 5.0 + s) for s in (1, 2, 3)),
    row("fhvae", 1, "eer", "svector/lda", 10.0),
    row("fhvae", 1, "eer_content", "z1mean/cosine", 40.0),
    row("fhvae", 1, "phone_accuracy", "z1", 0.5),
    row("fhvae", 1, "phone_accuracy", "z2", 0.2),
    row("fhvae", 1, "acceptance", "shift/world", 55.0),
    row("fhvae", 1, "mcd", "shift/world", 6.5),
    row("source", None, "acceptance", "source/world", 3.0),
]


def converted(root: Path, name: str, natural: str, **about: object) -> Path:
    """Two conversions of tones, and what steps/convert.sh says of them."""
    utts = {f"q-p-0{i}": f"p-0{i}" for i in range(2)}
    rng = np.random.default_rng(0)
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for utt in utts:
        soundfile.write(root / "wav" / f"{name}-{utt}.wav", 0.1 * rng.standard_normal(8000), 16000)
    place = root / name
    write_datadir(
        place,
        wav={u: str(root / "wav" / f"{name}-{u}.wav") for u in utts},
        utt2spk=dict.fromkeys(utts, "q"),
        utt2dur=dict.fromkeys(utts, 0.5),
        utt2num_samples=dict.fromkeys(utts, 8000),
    )
    write_table(place / "source", utts)
    write_table(place / "target_refs", dict.fromkeys(utts, "q-00 q-01"))
    known = {"method": "shift", "vocoder": "world", "system": "fhvae", "seed": 1, "data": natural}
    write_json(place / "convert.json", known | about)
    return place


def natural_dir(root: Path) -> Path:
    utts = ["p-00", "p-01", "q-00", "q-01"]
    (root / "wav").mkdir(exist_ok=True)
    for i, utt in enumerate(utts):
        tone = 0.3 * np.sin(np.arange(8000) * (0.1 + 0.1 * i))
        soundfile.write(root / "wav" / f"{utt}.wav", tone, 16000)
    write_datadir(
        root / "natural",
        wav={u: str(root / "wav" / f"{u}.wav") for u in utts},
        utt2spk={u: u[0] for u in utts},
        utt2dur=dict.fromkeys(utts, 0.5),
        utt2num_samples=dict.fromkeys(utts, 8000),
    )
    return root / "natural"


def with_frames(place: Path) -> Path:
    """z1 (means, log-variances) and phone times for a directory of latents."""
    utts = [line.split()[0] for line in (place / "utt2spk").read_text().splitlines()]
    rng = np.random.default_rng(0)
    lines = []
    with ArkWriter(place / "z1.ark", place / "z1.scp") as writer:
        for utt in utts:
            phones = rng.integers(3, size=10)
            frames = np.repeat(np.eye(4)[phones], 10, axis=0) + 0.1 * rng.standard_normal((100, 4))
            writer.write(utt, np.concatenate((frames, 0 * frames), axis=1).astype(np.float32))
            lines += [f"{utt} 1 {0.1 * i:.2f} 0.10 P{p}\n" for i, p in enumerate(phones)]
    write_json(place / "z1.json", {"kind": "z1", "dim": 8, "rate": 100})
    (place / "phones.ctm").write_text("".join(lines), encoding="utf-8")
    return place


@pytest.fixture
def experiment(workplace) -> Path:
    write_json("exp/all/quality_all.json", {"results": ROWS})
    return workplace.root


def run(*words: str) -> tuple[str, str]:
    assert report.main([*VCTK, *words, "exp", "exp/report"]) == 0
    return tuple(Path("exp/report", n).read_text("utf-8") for n in ("index.html", "RESULTS.md"))


def test_every_table_tells_the_direction_and_puts_seeds_together(experiment, capsys) -> None:
    page, results = run()
    shown = capsys.readouterr().out
    for text in (page, results, shown):
        assert "speaker verification EER, % ↓" in text
        assert "leakage: EER of the content latent, % ↑" in text
        assert "unseen z2 ↓" in text and "unseen z1" in text  # phones in z2 are a leak
        assert "22.00 (21.00 to 23.00)" in text and "7.00 (6.00 to 8.00)" in text
        assert "10.00 [9.00, 11.00]" in text
        assert "50.00 [" in text  # a fraction in the file, percent in tables
        assert "MCD, dB ↓" in text and "accepted as the target, % ↑" in text
        assert "↑ more is better" in text
    for text in (page, results):
        assert "single runs" in text and "21.00 [20.00, 22.00]" in text
    assert "single runs" not in shown
    assert "Other measures" not in results


def test_two_runs_of_a_system_with_one_seed_are_not_taken_for_seeds() -> None:
    rows = [row("fhvae", 1, "eer", "svector/lda", 9.0, run) for run in ("alpha0", "alpha10")]
    lines = sections(rows)[0].tables[0].lines
    assert [line[0] for line in lines] == ["fhvae (alpha0)", "fhvae (alpha10)"]


def test_recognition_stands_among_the_tables(experiment, workplace) -> None:
    from pylib.bin import score_wer

    text = {"a-0": "THE CAT", "b-0": "A MAT"}
    workplace.data("test", text, {"a-0": "a", "b-0": "b"})
    for seed in (1, 2):
        place = workplace.decoded(f"z1_{seed}", "test", text, system="z1", seed=seed)
        score_wer.main(["data/test", str(place)])
    page, results = run()
    assert "## Recognition" in results and "### CER, % ↓" in results
    assert "| z1 | 1, 2 | 0.00 (0.00 to 0.00) |" in results
    assert "WER (%)" not in page


def test_error_rates_of_converted_speech_stand_beside_its_acceptance(experiment, workplace) -> None:
    from pylib.bin import score_wer

    natural = str(natural_dir(workplace.root).rename(workplace.root / "unseen"))
    place = converted(workplace.root / "data", "conv", natural)
    write_table(place / "text", {"q-p-00": "THE CAT", "q-p-01": "A MAT"})
    hyps = {"q-p-00": "THE CAT", "q-p-01": "A MAD"}
    decoded = workplace.decoded("asr", "conv", hyps, system="asr", seed=7)
    score_wer.main(["data/conv", str(decoded)])
    page, results = run()
    assert "CER, own recogniser, % ↓" in page and "## Recognition" not in results
    line = next(x for x in results.splitlines() if x.startswith("| fhvae | shift/world | 1 |"))
    assert "<audio" not in page
    assert "25.00 [" in line and "8.33 [" in line and "55.0 [" in line and "6.50 [" in line


def test_the_readme_shows_the_few_that_tell_most(experiment) -> None:
    begin = "<!-- results vctk-mini: begin (generated by steps/report.sh, do not edit) -->"
    Path("README.md").write_text(f"{begin}\n<!-- results vctk-mini: end -->\n", encoding="utf-8")
    run("--readme", "README.md")
    text = Path("README.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 4
    for words in ("EER, % ↓ (unseen svector/cosine)", "% ↑ (unseen z1mean/cosine)", "accepted"):
        assert words in table[0]
    assert any(line.startswith("| fhvae, shift/world |") for line in table)
    assert "lda" not in table[0] and "MCD" not in table[0]
    assert "22.00 (21.00 to 23.00)" in text and "mini" in text


def test_pictures_and_players_are_within_the_page(experiment, tmp_path: Path) -> None:
    latents = with_frames(latent_dir(tmp_path / "latents", "pqr", count=5))
    natural = natural_dir(tmp_path)
    one = converted(tmp_path, "one", str(natural))
    two = converted(tmp_path, "two", "", system="knn_mel", method="knn_mel", seed=None)
    page, _ = run(
        "--latents", str(latents), "--conversions", str(one), "--conversions", str(two)
    )  # fmt: skip
    links = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert links and all(link.startswith("data:") for link in links)
    assert page.count("<audio") == 2 * 4
    assert sum(link.startswith("data:image/png") for link in links) == 1 + 2 * 4
    for text in ("fhvae, seed 3: latents", "p-00 to the voice of q", "fhvae, shift, world, seed 1",
                 "knn_mel, world", "source, p", "target, q"):  # fmt: skip
        assert text in page
    assert latent_picture(latents)["image"] in links  # the same bytes each time


def test_without_the_natural_recordings_the_conversions_stand_alone(tmp_path: Path) -> None:
    blocks = conversion_blocks([converted(tmp_path, "one", "gone")])
    assert [len(block["items"]) for block in blocks] == [1, 1]


def test_pictures_need_neither_phones_nor_many_points(tmp_path: Path) -> None:
    assert latent_picture(latent_dir(tmp_path / "few", "p", count=2))["image"].startswith("data:")


def test_what_is_no_directory_of_latents_or_conversions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dump_latents.sh"):
        latent_picture(tmp_path)
    with pytest.raises(UserError, match="steps/convert.sh"):
        conversion_blocks([tmp_path])


def test_principal_components_order_by_variance() -> None:
    x = np.random.default_rng(0).standard_normal((50, 4)) * [1, 9, 3, 0.1]
    plane = principal_components(x)
    assert abs(np.corrcoef(plane[:, 0], x[:, 1])[0, 1]) > 0.95
    assert abs(np.corrcoef(plane[:, 1], x[:, 2])[0, 1]) > 0.9
    assert principal_components(np.ones((3, 4))).tolist() == [[0, 0]] * 3


def test_a_tone_is_a_line_in_its_spectrogram() -> None:
    import io

    from matplotlib.image import imread

    tone = np.sin(2 * np.pi * 4000 * np.arange(16000) / 16000).astype(np.float32)
    image = imread(io.BytesIO(spectrogram(tone)))
    assert image.shape[:2] == (128, 97)
    assert abs(image[:, 50, :3].sum(axis=1).argmax() - 63) <= 1  # half of 8 kHz
    assert spectrogram(np.zeros(10, np.float32))


def test_every_measure_has_a_direction_and_lines_have_arrows() -> None:
    assert all(measure.direction for measure in MEASURES.values())
    assert arrow("phone_accuracy", "z2") == "↓" and arrow("phone_accuracy", "z1") == "↑"
    assert measure_of("new_measure").label == "new_measure" and arrow("new_measure") == ""
    assert describe_row(ROWS[0]) == (
        "unseen svector/cosine: speaker verification EER, % ↓ 21.00 [20.00, 22.00]"
    )


def test_terminal_and_markdown_tables_agree() -> None:
    table = key_table(ROWS)
    text = text_table(table).splitlines()
    assert len(text) == 2 + len(table.lines)
    assert markdown_table(table).count("\n") == 2 + len(table.lines)


def test_rows_of_layers_stay_with_the_other_measures(experiment) -> None:
    rows = [row("hubert", 1, "phone_accuracy", "layer3", 0.6)]
    assert sections(rows) == []
    write_json("exp/all/quality_layers.json", {"results": rows})
    _, results = run()
    assert "| phone_accuracy | hubert | 1 | unseen | layer3 | 0.6000 |" in results
    summary = json.loads(Path("exp/report/summary.json").read_text(encoding="utf-8"))
    assert summary["results"] == collect("exp").rows


def test_patterns_show_one_seed_of_each_system(tmp_path: Path) -> None:
    """The lowest seed; other directories that a pattern meets are passed over."""
    from pylib.bin.report import _shown

    for name, system, seed in (("a_s1", "a", 1), ("a_s2", "a", 2), ("b_s3", "b", 3)):
        folder = tmp_path / name / "latents"
        folder.mkdir(parents=True)
        about = {"system": system, "seed": seed}
        (folder / "latents.json").write_text(json.dumps(about), encoding="utf-8")
    (tmp_path / "other" / "latents").mkdir(parents=True)
    found = _shown([f"{tmp_path}/*/latents"], "latents.json")
    assert [path.parent.name for path in found] == ["a_s1", "b_s3"]
    with pytest.raises(UserError, match=r"other/latents/latents\.json: missing"):
        _shown([f"{tmp_path}/other/latents"], "latents.json")
