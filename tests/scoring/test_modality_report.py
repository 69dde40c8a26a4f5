"""The report of an audio-visual recipe: modalities, noise, mouths, pictures of layers."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pylib.bin import report, score_wer
from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.features.mouth_store import COMPRESSION, describe_mouth, to_matrix
from pylib.scoring.collect import collect
from pylib.scoring.measure_tables import markdown_table, text_table
from pylib.scoring.modality_tables import (
    MODALITIES,
    has_modalities,
    is_clean,
    is_modal,
    modality_key_table,
    modality_sections,
    split_set,
)
from pylib.scoring.noise_curves import curves_of, draw_noise
from pylib.scoring.result_tables import comparisons

TEXT = {f"{s}-{i}": "THE CAT SAT ON A MAT" for s in "abcd" for i in range(3)}
SPEAKERS = {u: u[0] for u in TEXT}
LRS3 = ["--recipe", "lrs3", "--preset", "mini", "--corpus", "built-in easy"]
WRONG = {"av": 1, "a": 2, "v": 4}
NOISES = ("babble_-5", "babble_0", "music_0")


def row(system: str, seed: int, name: str, decode: str, value: float, measure: str = "wer"):
    parts = f"decode_{name}_{decode}/scoring/{measure}.json"
    if measure in ("pnmi", "retrieval"):
        parts = "quality_modalities.json"
    return {
        "system": system, "seed": seed, "set": name, "measure": measure, "decode": decode,
        "value": value, "low": None, "high": None, "n": 10,
        "file": f"exp/{system}_s{seed}/{parts}",
    }  # fmt: skip


@pytest.fixture(scope="session")
def template(tmp_path_factory, make_workplace):
    """Two systems in three modalities and three noises, mouths, an analysis; made once."""
    root = tmp_path_factory.mktemp("modal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        fill(make_workplace(root))
    return root


@pytest.fixture
def scored(template, workplace):
    shutil.copytree(template, workplace.root, dirs_exist_ok=True)
    return workplace


def fill(workplace) -> None:
    data = workplace.data("test", TEXT, SPEAKERS)
    for run in ("vatlm", "scratch"):
        for decode, wrong in WRONG.items():
            for noise in ("", *(NOISES if decode != "v" else ())):
                count = 2 * wrong + (run == "scratch") + len(noise) // 4
                hyps = {u: "THE BAT" if i < count else t for i, (u, t) in enumerate(TEXT.items())}
                name = f"test_{noise}" if noise else "test"
                score_wer.main([str(data), str(workplace.decoded(run, name, hyps, decode))])
    rng = np.random.default_rng(0)
    with ArkWriter("mouth.ark", data / "mouth.scp", COMPRESSION) as writer:
        for utt in sorted(TEXT):
            writer.write(utt, to_matrix(rng.integers(0, 256, (20, 96, 96)).astype(np.uint8)))
    write_json(data / "mouth.json", describe_mouth())
    analysis("exp/pretrain/quality_modalities.json", "vatlm", 1)


def analysis(path: str, system: str, seed: int) -> None:
    rows = [
        row(system, seed, "test", f"layer{layer}/{name}", 0.1 * layer, "pnmi")
        for layer in (0, 1, 10)
        for name in ("av", "a", "v")
    ]
    rows += [row(system, seed, "test", f"layer{n}/a->v", 0.2, "retrieval") for n in (0, 1, 10)]
    for one in rows:
        one["file"] = path
    points = np.random.default_rng(0).standard_normal((12, 2)).tolist()
    picture = {
        "layer": 1, "modalities": ["av", "a", "v"] * 4, "phones": ["AA", "B"] * 6,
        "pca": points, "tsne": points,
    }  # fmt: skip
    about = {"system": system, "seed": seed}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"results": rows, "analysis": about, "picture": picture})


def test_names_of_sets() -> None:
    assert split_set("test_babble_-5") == ("test", "babble", -5.0)
    assert split_set("test_speech_2.5") == ("test", "speech", 2.5)
    for name in ("test", "test_clean", "dev_other", "test_babble", "test_rain_0", "babble_0"):
        assert split_set(name) == (name, "", None)
        assert is_clean({"set": name})


def test_other_recipes_have_no_such_tables() -> None:
    rows = [row("hubert", 1, "test-clean", "lm", 5.0), row("k", 1, "dev", "kmeans", 0.3, "pnmi")]
    assert not has_modalities(rows) and modality_sections(rows) == []
    assert not any(is_modal(one) for one in rows)


def test_seeds_are_put_together_and_means_taken() -> None:
    rows = [row("vatlm", s, "test", "av", 10.0 + s) for s in (1, 2)]
    rows += [row("vatlm", s, "test", "v", 50.0 + s) for s in (1, 2)]
    for ratio, add in ((-10, 30.0), (0, 10.0), (10, 2.0)):
        rows += [row("vatlm", s, f"test_babble_{ratio}", "av", add + s) for s in (1, 2)]
    clean, noisy = modality_sections(rows)
    table = clean.tables[0]
    assert table.header == ["system", "seeds", "test av", "test v"]
    assert table.lines == [["vatlm", "1, 2", "11.50 (11.00 to 12.00)", "51.50 (51.00 to 52.00)"]]
    assert table.runs is not None and len(table.runs.lines) == 2
    table = noisy.tables[0]
    assert "test in babble" in table.title and "↓" in table.title
    assert table.header == ["system", "seen", "seeds", "-10 dB", "0 dB", "10 dB", "mean", "clean"]
    assert [line[1] for line in table.lines] == ["av", "v"]
    assert table.lines[0][3:] == [
        "31.50 (31.00 to 32.00)", "11.50 (11.00 to 12.00)", "3.50 (3.00 to 4.00)",
        "15.50 (15.00 to 16.00)", "11.50 (11.00 to 12.00)",
    ]  # fmt: skip
    assert table.lines[1][3:] == ["-", "-", "-", "-", "51.50 (51.00 to 52.00)"]
    key = modality_key_table(rows)
    assert [head.partition("(")[2] for head in key.header[2:]] == [
        "test: av)", "test: v)", "test, babble -10 to 10 dB: av)",
    ]  # fmt: skip
    assert key.lines == [
        ["vatlm", "1, 2", "11.50 (11.00 to 12.00)", "51.50 (51.00 to 52.00)",
         "15.50 (15.00 to 16.00)"],
    ]  # fmt: skip


def test_the_guess_without_input_stands_beside_the_lips() -> None:
    rows = [row("vatlm", 1, "test", d, v) for d, v in (("v", 40.0), ("v_other", 97.0), ("av", 9.0))]
    (section,) = modality_sections(rows)
    table = section.tables[0]
    assert table.header[2:] == ["test av", "test v", "test v_other"]
    assert table.lines == [["vatlm", "1", "9.00", "40.00", "97.00"]]
    assert "v_other: words read from the lips of other clips" in section.title
    assert "v_other" not in modality_sections(rows[:1])[0].title
    assert "v_other" not in " ".join(modality_key_table(rows).header)


def test_the_guess_is_scored_and_in_no_other_part_of_the_report(scored) -> None:
    from pylib.bin import swap_clips

    for run in ("vatlm", "scratch"):
        folder = Path(f"exp/{run}/decode_test_v")
        swap_clips.main([str(folder)])
        assert score_wer.main(["data/test", f"{folder}_other"]) == 0
    report.main([*LRS3, "exp", "exp/report"])
    summary = json.loads(Path("exp/report/summary.json").read_text(encoding="utf-8"))
    found = [r for r in summary["results"] if r["decode"] == "v_other"]
    assert {(r["system"], r["measure"]) for r in found} == {
        (system, measure) for system in ("vatlm", "scratch") for measure in ("wer", "cer")
    }
    text = Path("exp/report/RESULTS.md").read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if "v_other" in line]
    # The title, and in each of two tables the head and that of the single runs, if any.
    assert heads[0].startswith("## Recognition") and all(
        line.startswith(("##", "| system ")) for line in heads
    )


def test_a_mean_needs_every_ratio() -> None:
    rows = [row("a", 1, f"test_music_{r}", "a", 5.0) for r in (-5, 0)]
    rows += [row("b", 1, "test_music_0", "a", 7.0)]
    (section,) = modality_sections(rows)
    found = {line[0]: line[3:] for line in section.tables[0].lines}
    assert found == {"a": ["5.00", "5.00", "5.00", "-"], "b": ["-", "7.00", "-", "-"]}


def test_curves_in_noise() -> None:
    rows = [row("vatlm", s, "test_babble_-5", "a", 40.0 + s) for s in (1, 3)]
    rows += [row("vatlm", 1, "test_babble_5", "a", 10.0), row("vatlm", 1, "test", "v", 30.0)]
    assert curves_of(rows, "test", "babble") == {
        ("vatlm", "a"): [(-5.0, 42.0), (5.0, 10.0)],
        ("vatlm", "v"): [(-5.0, 30.0), (5.0, 30.0)],
    }
    assert draw_noise(rows).count("<svg") == 1
    assert draw_noise(rows[:2]) == ""  # one ratio is no curve


def test_two_runs_with_one_seed_are_told_apart() -> None:
    rows = [row("vatlm", 1, "test", "av", 10.0), row("vatlm", 1, "test", "av", 20.0)]
    rows[1]["file"] = rows[1]["file"].replace("vatlm_s1", "vatlm_it2_s1")
    table = modality_sections(rows)[0].tables[0]
    assert [line[0] for line in table.lines] == ["vatlm (vatlm_it2_s1)", "vatlm (vatlm_s1)"]


def test_the_whole_report(scored, capsys) -> None:
    arguments = [*LRS3, "--mouths", "data/test", "exp", "exp/report"]
    assert report.main(arguments) == 0
    out = capsys.readouterr().out
    assert "RECOGNITION IN NOISE" in out and "PNMI ↑, test, by layer" in out
    page = Path("exp/report/index.html").read_text(encoding="utf-8")
    text = Path("exp/report/RESULTS.md").read_text(encoding="utf-8")
    for shown in (page, text):
        for words in ("in babble", "in music", "-5 dB", "retrieval of the same second, %", "vatlm"):
            assert words in shown
    links = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert links and all(link.startswith("data:") for link in links)
    assert "Word error rate in noise</h2><svg" in page and "test in babble" in page
    assert page.count('class="mouth"') == 6 and page.count('class="pic"') == 1
    sheet = re.findall(r'class="sheet" [^>]*src="data:image/png;base64,([^"]+)"', page)
    picture = np.frombuffer(base64.b64decode(sheet[0]), dtype=np.uint8)
    assert len(sheet) == 1
    assert cv2.imdecode(picture, cv2.IMREAD_UNCHANGED).shape == (12 * 112, 8 * 96)
    assert page.count("(worst)") == 3 and page.count("(best)") == 3
    assert "PNMI" in text and "Other measures" not in text
    # Paired comparisons and alignments are those without noise.
    assert text.count("| scratch |") < 12
    part = text.partition("## Against scratch")[2].partition("## ")[0]
    assert part.count("vatlm") == 3 and "babble" not in part
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines and all(line.endswith("|") for line in lines)
    summary = json.loads(Path("exp/report/summary.json").read_text(encoding="utf-8"))
    assert len(summary["results"]) == 2 * 2 * (3 + 2 * 3) + 12
    first = {p.name: p.read_bytes() for p in Path("exp/report").iterdir()}
    report.main(arguments)
    assert first == {p.name: p.read_bytes() for p in Path("exp/report").iterdir()}


def test_the_report_says_that_phone_times_were_aligned(scored) -> None:
    path = Path("exp/pretrain/quality_modalities.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for times, said in (("known", False), ("aligned", True)):
        write_json(path, content | {"analysis": content["analysis"] | {"phone_times": times}})
        report.main([*LRS3, "exp", "exp/report"])
        for name in ("index.html", "RESULTS.md"):
            text = Path("exp/report", name).read_text(encoding="utf-8")
            assert ("phone times by forced alignment" in text) is said


def test_baselines(scored) -> None:
    for old, new in (("vatlm", "avhubert"), ("vatlm", "vatlm_v"), ("scratch", "scratch_v")):
        shutil.copytree(f"exp/{old}", f"exp/{new}")
        for path in Path(f"exp/{new}").glob("*/scoring/*er.json"):
            text = path.read_text(encoding="utf-8").replace(
                f'"system": "{old}"', f'"system": "{new}"'
            )
            path.write_text(text, encoding="utf-8")
    found = comparisons(collect("exp", "mini"))
    pairs = [(line["row"]["system"], line["against"], line["row"]["decode"]) for line in found]
    assert sorted(pairs) == sorted(
        (system, against, decode)
        for system, against in (
            ("vatlm", "scratch"), ("avhubert", "scratch"), ("vatlm_v", "scratch"),
            ("vatlm", "avhubert"),
        )
        for decode in MODALITIES
    )  # fmt: skip
    assert {line["baseline"]["system"] for line in found if line["row"]["system"] == "vatlm_v"} == {
        "scratch_v"
    }
    report.main([*LRS3, "exp", "exp/report"])
    text = Path("exp/report/RESULTS.md").read_text(encoding="utf-8")
    assert "## Against scratch (paired)" in text and "## Against avhubert (paired)" in text


def test_without_mouths_and_without_analysis(scored) -> None:
    shutil.rmtree("exp/pretrain")
    report.main([*LRS3, "exp", "exp/report"])
    page = Path("exp/report/index.html").read_text(encoding="utf-8")
    assert 'class="mouth"' not in page and 'class="sheet"' not in page
    assert 'class="pic"' not in page and "in babble" in page


def test_the_readme_has_the_key_table(scored) -> None:
    name = "lrs3-mini"
    begin = f"<!-- results {name}: begin (generated by steps/report.sh, do not edit) -->"
    Path("README.md").write_text(f"{begin}\n<!-- results {name}: end -->\n", encoding="utf-8")
    report.main([*LRS3, "--readme", "README.md", "exp", "exp/report"])
    text = Path("README.md").read_text(encoding="utf-8")
    assert "test: av)" in text and "test, babble -5 to 0 dB: a)" in text and "↓" in text


def test_mouths_of_another_set_are_refused(scored) -> None:
    table = Path("data/test/mouth.scp")
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("".join(f"x{line}\n" for line in lines), encoding="utf-8")
    with pytest.raises(UserError, match="none of the utterances"):
        report.main([*LRS3, "--mouths", "data/test", "exp", "exp/report"])
    with pytest.raises(UserError, match=r"mouth.json: no such file"):
        report.main([*LRS3, "--mouths", "data", "exp", "exp/report"])


def test_of_two_seeds_the_lowest_is_drawn_and_a_broken_picture_is_named(scored) -> None:
    from pylib.scoring.mouths import modality_pictures

    analysis("exp/pretrain2/quality_modalities.json", "vatlm", 2)
    found = collect("exp", "mini")
    (picture,) = modality_pictures(found)
    assert picture["title"] == "vatlm, seed 1: layer 1"
    found.pictures["exp/pretrain/quality_modalities.json"]["picture"]["pca"] = [[1, 2]]
    with pytest.raises(UserError, match="picture is broken"):
        modality_pictures(found)


def test_tables_are_text_in_every_form() -> None:
    rows = [row("vatlm", 1, "test", d, 5.0) for d in ("a", "av")]
    table = modality_sections(rows)[0].tables[0]
    assert text_table(table).splitlines()[0] == "WER, % ↓"
    assert markdown_table(table).splitlines()[0] == "| system | seeds | test av | test a |"


def test_clips_without_a_mouth_are_counted_in_the_report(scored) -> None:
    lost = sorted(TEXT)[:2]
    hyps = {utt: text for utt, text in TEXT.items() if utt not in lost}
    folder = scored.decoded("vatlm", "test", hyps, "v")
    settings = json.loads((folder / "decode.json").read_text(encoding="utf-8"))
    write_json(folder / "decode.json", settings | {"no_pictures": lost})
    assert score_wer.main(["data/test", str(folder)]) == 0
    report.main([*LRS3, "exp", "report"])
    assert "2 missing, 2 of 12 clips have no mouth |" in Path("report/RESULTS.md").read_text(
        "utf-8"
    )
    page = Path("report/index.html").read_text(encoding="utf-8")
    assert f'title="{" ".join(lost)}">2 of 12 clips have no mouth' in page


def test_the_sheet_shows_clips_spread_over_the_set(tmp_path: Path) -> None:
    from pylib.features.mouth_store import contact_sheet
    from pylib.scoring.embed import png_uri
    from pylib.scoring.mouths import grey_png, mouth_sheet

    utts = [f"s{i // 5}-{i:03d}" for i in range(25)]
    clips = {u: np.full((9, 96, 96), 10 * i, dtype=np.uint8) for i, u in enumerate(utts)}
    with ArkWriter(tmp_path / "m.ark", tmp_path / "mouth.scp", COMPRESSION) as writer:
        for utt, pictures in clips.items():
            writer.write(utt, to_matrix(pictures))
    write_json(tmp_path / "mouth.json", describe_mouth())
    shown = [0, 2, 4, 7, 9, 11, 13, 15, 17, 20, 22, 24]
    sheet = contact_sheet({utts[i]: clips[utts[i]] for i in shown}, 8)
    assert mouth_sheet(tmp_path) == png_uri(grey_png(sheet))
    assert mouth_sheet(None) == ""
