"""The verb score_wer: files written, refusals, exit status."""

import json

import pytest

from pylib.bin import compare_systems, score_wer
from pylib.corpus.errors import UserError
from pylib.scoring.score_files import ROW_FIELDS, read_score

TEXT = {"a-1": "THE CAT SAT", "a-2": "ONE TWO", "b-1": "GO"}
SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b"}


def test_files_and_json(workplace, capsys):
    workplace.data("test", TEXT, SPEAKERS)
    place = workplace.decoded("mt4ssl", "test", {**TEXT, "a-1": "THE BAT SAT"}, seed=7)
    assert score_wer.main(["data/test", str(place)]) == 0
    assert "%WER 16.67 [ 1 / 6, 0 ins, 0 del, 1 sub ]" in capsys.readouterr().out
    scoring = place / "scoring"
    names = {path.name for path in scoring.iterdir()}
    assert {"wer.json", "cer.json", "per_utt", "per_spk", "ops", "best_wer", "best_cer"} <= names
    assert {"per_utt.json", "per_spk.json", "ops.json", "wer_bootci", "alignments.html"} <= names
    content = json.loads((scoring / "wer.json").read_text(encoding="utf-8"))
    assert set(ROW_FIELDS) <= content.keys()
    row = {name: content[name] for name in ROW_FIELDS}
    assert row["system"] == "mt4ssl" and row["seed"] == 7 and row["set"] == "test"
    assert row["measure"] == "wer" and row["decode"] == "greedy" and row["n"] == 6
    assert row["value"] == pytest.approx(100 / 6, abs=1e-3)
    assert row["low"] <= row["value"] <= row["high"]
    assert row["file"] == "exp/mt4ssl/decode_test_greedy/scoring/wer.json"
    details = content["details"]
    assert details["interval"]["over"] == "utterances" and details["normaliser"] == "librispeech/1"
    assert details["preset"] == "mini" and details["settings"]["set"] == "test"
    again, score = read_score(scoring / "wer.json")
    assert again == content and score.rate == pytest.approx(row["value"], abs=1e-3)
    assert (scoring / "best_wer").read_text(encoding="utf-8").startswith("%WER 16.67 [ 1 / 6")


def test_scoring_twice_gives_the_same_bytes(workplace):
    workplace.data("test", TEXT, SPEAKERS)
    place = workplace.decoded("mt4ssl", "test", TEXT)
    score_wer.main(["data/test", str(place)])
    first = {p.name: p.read_bytes() for p in (place / "scoring").iterdir()}
    score_wer.main(["data/test", str(place)])
    assert first == {p.name: p.read_bytes() for p in (place / "scoring").iterdir()}


def test_missing_hypotheses_exit_1_unless_partial(workplace, capsys):
    workplace.data("test", TEXT, SPEAKERS)
    place = workplace.decoded("mt4ssl", "test", {"a-1": "THE CAT SAT"})
    assert score_wer.main(["data/test", str(place)]) == 1
    assert "  a-2\n  b-1" in capsys.readouterr().err
    assert (place / "scoring" / "missing").read_text(encoding="utf-8") == "a-2\nb-1\n"
    assert "[PARTIAL]" in (place / "scoring" / "best_wer").read_text(encoding="utf-8")
    content = json.loads((place / "scoring" / "wer.json").read_text(encoding="utf-8"))
    assert content["value"] == 50.0 and content["n"] == 6
    assert content["details"]["missing"] == ["a-2", "b-1"]
    assert score_wer.main(["--partial", "data/test", str(place)]) == 0


def test_refusals(workplace):
    workplace.data("test", TEXT, SPEAKERS)
    workplace.data("dev", TEXT, SPEAKERS)
    place = workplace.decoded("mt4ssl", "test", TEXT | {"z-9": "NO"})
    with pytest.raises(UserError, match="z-9"):
        score_wer.main(["data/test", str(place)])
    with pytest.raises(UserError, match="decoded from set 'test', not 'dev'"):
        score_wer.main(["data/dev", str(place)])
    (place / "hyp").write_text("a-1 X\na-1 Y\n", encoding="utf-8")
    with pytest.raises(UserError, match="hyp:2.*duplicate"):
        score_wer.main(["data/test", str(place)])
    (place / "hyp").unlink()
    with pytest.raises(UserError, match="hyp"):
        score_wer.main(["data/test", str(place)])
    (place / "hyp").write_text("a-1 X\n", encoding="utf-8")
    for text in ('{"set": ["test"], "decode": "av"}', '{"set": "test", "decode": 3}', "[1]"):
        (place / "decode.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"decode\.json: "):
            score_wer.main(["data/test", str(place)])
    assert not (place / "scoring" / "wer.json").exists()


def test_hypotheses_from_elsewhere_need_a_name(workplace):
    workplace.data("test", TEXT, SPEAKERS)
    place = workplace.decoded("other", "test", TEXT)
    (place.parent / "run.json").unlink()
    with pytest.raises(UserError, match="--system"):
        score_wer.main(["data/test", str(place)])
    assert score_wer.main(["--system", "theirs", "data/test", str(place)]) == 0
    content = json.loads((place / "scoring" / "wer.json").read_text(encoding="utf-8"))
    assert (content["system"], content["seed"]) == ("theirs", None)


def test_page_escapes_what_it_shows(workplace):
    workplace.data("test", TEXT, SPEAKERS)
    place = workplace.decoded("mt4ssl", "test", {**TEXT, "b-1": "<script>alert(1)</script>"})
    score_wer.main(["--normaliser", "none", "data/test", str(place)])
    page = (place / "scoring" / "alignments.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_compare_systems(workplace, capsys):
    workplace.data("test", TEXT, SPEAKERS)
    files = []
    for run, hyps in (("scratch", dict.fromkeys(TEXT, "NO")), ("mt4ssl", TEXT)):
        place = workplace.decoded(run, "test", hyps)
        score_wer.main(["data/test", str(place)])
        files.append(str(place / "scoring" / "wer.json"))
    capsys.readouterr()
    assert compare_systems.main([*files, "--out", "c.json"]) == 0
    assert "B - A -100.00" in capsys.readouterr().out
    assert json.loads((workplace.root / "c.json").read_text())["rate_b"] == 0.0
    beside = workplace.root / files[0].replace("wer.json", "per_utt.json")
    beside.write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="totals differ"):
        compare_systems.main(files)
    path = workplace.root / files[0]
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in (("details", None), ("measure", "x"), ("details", [])):
        path.write_text(json.dumps({**content, key: value}), encoding="utf-8")
        with pytest.raises(UserError, match="neither WER nor CER with details: score again"):
            compare_systems.main(files)
