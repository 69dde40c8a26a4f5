"""The report: shape of summary.json, labels, self-contained page, atomic directory."""

import json
import re
import shutil

import pytest

from pylib.bin import report, score_wer
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.scoring.collect import check_row, collect
from pylib.scoring.result_tables import error_table, format_text_table

TEXT = {f"{s}-{i}": "THE CAT SAT ON A MAT" for s in "abcd" for i in range(3)}
SPEAKERS = {u: u[0] for u in TEXT}
BUILT_IN = ["--recipe", "librispeech", "--preset", "mini", "--corpus", "built-in easy"]


@pytest.fixture(scope="session")
def template(tmp_path_factory, make_workplace):
    """A scored experiment, made once."""
    root = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        fill(make_workplace(root))
    return root


@pytest.fixture
def scored(template, workplace):
    shutil.copytree(template, workplace.root, dirs_exist_ok=True)
    return workplace


def fill(workplace):
    for name in ("dev", "test"):
        workplace.data(name, TEXT, SPEAKERS)
        for run, hyp in (("scratch", "THE BAT"), ("mt4ssl", "THE CAT SAT ON THE MAT")):
            for decode in ("greedy", "lm"):
                hyps = {**TEXT, "a-0": hyp, "b-1": hyp, "c-2": hyp}
                place = workplace.decoded(run, name, hyps, decode, data={"train": "c0ffee"})
                score_wer.main([f"data/{name}", str(place)])
    write_json(
        "exp/kmeans/quality.json",
        {
            "results": [
                {
                    "system": "kmeans",
                    "seed": 0,
                    "set": "dev",
                    "measure": "pnmi",
                    "decode": "kmeans",
                    "value": 0.31,
                    "low": None,
                    "high": None,
                    "n": 100,
                    "file": "exp/kmeans/quality.json",
                    "note": "not in the summary",
                }
            ]
        },
    )
    (workplace.root / "exp/mt4ssl/metrics.jsonl").write_text(
        "".join(
            json.dumps({"type": kind, "update": u, "loss": 1 / u, "wer": 90 - u}) + "\n"
            for u in range(1, 9)
            for kind in ("train", "dev")
        )
        + '{"type": "train", "upd',
        encoding="utf-8",
    )
    record = {"state": "done", "stage": 8, "name": "decode", "argv": ["steps/decode.sh", "a b"]}
    # A record that is named after the quality file it made is no result.
    write_json("exp/.stages/probe.exp+quality_layers.json.json", {**record, "state": "failed"})
    write_json("exp/.stages/decode.json", {**record, "start": 10.0, "end": 22.5})


def test_summary_has_the_stable_shape(scored, capsys):
    assert report.main([*BUILT_IN, "exp", "exp/report"]) == 0
    summary = json.loads((scored.root / "exp/report/summary.json").read_text(encoding="utf-8"))
    assert set(summary) == {"recipe", "preset", "corpus", "revision", "wall_s", "results"}
    assert summary["wall_s"] == 12.5 and summary["preset"] == "mini"
    names = {"system", "seed", "set", "measure", "decode", "value", "low", "high", "n", "file"}
    assert all(set(row) == names for row in summary["results"])
    assert len(summary["results"]) == 2 * 2 * 2 * 2 + 1
    for row in summary["results"]:
        assert (scored.root / row["file"]).is_file()
    out = capsys.readouterr().out
    assert "mt4ssl" in out and "test lm" in out and "synthetic" in out


def test_page_is_self_contained_and_whole(scored):
    report.main([*BUILT_IN, "exp", "exp/report"])
    page = (scored.root / "exp/report/index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert links and all(link.startswith("data:") for link in links)
    assert not re.search(r"@import|<script|<link", page)
    assert page.count("<audio") == 3 and "data:audio/flac;base64," in page
    assert "<svg" in page and "Fine-tuning" in page
    for text in ("Built-in corpus (synthetic", "pnmi", "THE CAT", "steps/decode.sh", "c0ffee"):
        assert text in page


def test_results_are_labelled_and_written_where_asked(scored):
    report.main([*BUILT_IN, "--results", "RESULTS.md", "--wall", "99", "exp", "exp/report"])
    text = (scored.root / "RESULTS.md").read_text(encoding="utf-8")
    assert text == (scored.root / "exp/report/RESULTS.md").read_text(encoding="utf-8")
    assert "**Built-in corpus (synthetic speech)" in text and ", 99 s." in text
    assert "| mt4ssl | 1 | mt4ssl |" in text and "dev (WER 1.00 there)" in text
    assert "Against scratch (paired)" in text and "steps/decode.sh 'a b'" in text
    assert "&#" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables and all(line.endswith("|") for line in tables)
    real = ["--recipe", "librispeech", "--preset", "smoke", "--corpus", "LibriSpeech"]
    for path in scored.root.glob("exp/*/decode_*/scoring/*er.json"):
        path.write_text(path.read_text().replace('"preset": "mini"', '"preset": "smoke"'))
    report.main([*real, "exp", "exp/report"])
    text = (scored.root / "exp/report/RESULTS.md").read_text(encoding="utf-8")
    assert "small model and little data" in text and "synthetic" not in text


def test_same_input_same_bytes(scored):
    arguments = [*BUILT_IN, "exp", "exp/report"]
    report.main(arguments)
    first = {p.name: p.read_bytes() for p in (scored.root / "exp/report").iterdir()}
    report.main(arguments)
    second = {p.name: p.read_bytes() for p in (scored.root / "exp/report").iterdir()}
    assert first == second and set(first) == {"index.html", "RESULTS.md", "summary.json"}


def test_other_presets_are_left_out_and_listed(scored, capsys):
    path = scored.root / "exp/scratch/decode_test_lm/scoring/wer.json"
    path.write_text(path.read_text().replace('"preset": "mini"', '"preset": "small"'))
    report.main([*BUILT_IN, "exp", "exp/report"])
    summary = json.loads((scored.root / "exp/report/summary.json").read_text(encoding="utf-8"))
    assert len(summary["results"]) == 16
    assert "left out" in capsys.readouterr().out


def test_refusals(scored):
    (scored.root / "mine").mkdir()
    (scored.root / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="thesis.tex"):
        report.main([*BUILT_IN, "exp", "mine"])
    with pytest.raises(UserError, match="no scores"):
        report.main([*BUILT_IN, "mine", "exp/report"])
    (scored.root / "exp/mt4ssl/decode_dev_lm/scoring/cer.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cer.json: not readable"):
        report.main([*BUILT_IN, "exp", "exp/report"])
    assert not (scored.root / "exp/report").exists()


@pytest.mark.parametrize(
    "change", [{"value": None}, {"value": float("nan")}, {"low": "x"}, {"system": 3}]
)
def test_bad_rows_are_refused(scored, change):
    row = collect("exp").rows[0]
    with pytest.raises(UserError, match="expected"):
        check_row({**row, **change}, scored.root / "row.json")
    del row["value"]
    with pytest.raises(UserError, match="lacks value"):
        check_row(row, scored.root / "row.json")


def test_terminal_table_lists_every_run(scored):
    table = error_table(collect("exp").rows, "wer")
    assert table["columns"][0][0] == "dev" and len(table["columns"]) == 4
    text = format_text_table(table)
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["mt4ssl", "scratch"]
    assert max(map(len, text.splitlines())) <= 130


def test_the_readme_table_is_replaced_and_nothing_else(scored):
    readme = scored.root / "README.md"
    begin = "<!-- results librispeech-mini: begin (generated by steps/report.sh, do not edit) -->"
    end = "<!-- results librispeech-mini: end -->"
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    for _ in range(2):
        assert report.main([*BUILT_IN, "--readme", str(readme), "exp", "exp/report"]) == 0
        lines = readme.read_text(encoding="utf-8").splitlines()
        assert lines[:2] == ["before", begin] and lines[-2:] == [end, "after"]
        assert sum(line.startswith("| mt4ssl |") for line in lines) == 1 and "old" not in lines
    readme.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(UserError, match="README.md"):
        report.main([*BUILT_IN, "--readme", str(readme), "exp", "exp/report"])
    assert readme.read_text(encoding="utf-8") == "no markers\n"
