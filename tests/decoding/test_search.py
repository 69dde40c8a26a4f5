"""Shards, merge and records of decoding; batches and records of dumping."""

import json

import numpy as np
import pytest

from pylib.bin import decode
from pylib.corpus.ark import read_mat, read_scp
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.decoding.logprobs import dump_batches, plan_batches
from pylib.decoding.search import LogProbs

PLACE = ["data/test", "exp/ft/logprobs_test"]


def decode_in(shards, out, *options):
    for shard in range(1, shards + 1):
        decode.main(["--shard", f"{shard}/{shards}", *options, *PLACE, out])
    return decode.main(["--merge", str(shards), *options, *PLACE, out])


@pytest.mark.parametrize("options", [(), ("--decode", "lm", "--lm-dir", "exp/lm", "--beam", "50")])
def test_shards_do_not_change_the_words(workplace, options):
    for shards in (1, 3, 20):
        assert decode_in(shards, f"exp/ft/decode_test_{shards}", *options) == 0
    bytes_of = [(workplace / f"exp/ft/decode_test_{n}/hyp").read_bytes() for n in (1, 3, 20)]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2]
    assert not (workplace / "exp/ft/decode_test_3/parts").exists()
    hyps = read_table("exp/ft/decode_test_1/hyp")
    assert len(hyps) == 12 and hyps[max(hyps)] == ""


def test_record_of_a_decoding(workplace):
    decode_in(1, "exp/ft/decode_test_lm", "--decode=lm", "--lm-dir=exp/lm", "--lm-weight=1.5")
    record = json.loads((workplace / "exp/ft/decode_test_lm/decode.json").read_text())
    assert record["decode"] == "lm" and record["set"] == "test" and record["tuned"] is None
    assert record["options"]["lm_weight"] == 1.5 and record["options"]["word_score"] == -1.0
    assert record["lm"]["order"] == 3 and len(record["lm"]["lexicon_sha256"]) == 64
    assert record["too_short"] == ["s3-011"] and record["empty"] >= 1


def test_search_with_lm_beats_greedy(workplace):
    decode_in(1, "greedy")
    decode_in(1, "lm", "--decode", "lm", "--lm-dir", "exp/lm")
    truth = read_table("data/test/text")
    right = {
        name: sum(read_table(f"{name}/hyp")[u] == truth[u] for u in truth)
        for name in ("greedy", "lm")
    }
    assert right["lm"] > right["greedy"] and right["lm"] >= 8


def test_missing_log_probs_are_refused(workplace):
    scp = workplace / "exp/ft/logprobs_test/logprobs.scp"
    lines = scp.read_text(encoding="utf-8").splitlines(keepends=True)
    scp.write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="1 of 12 utterances .s0-000"):
        decode_in(1, "out")


def test_parts_of_another_set_are_refused(workplace):
    decode.main(["data/test", "exp/ft/logprobs_test", "out"])
    part = workplace / "out/parts/hyp.1of1"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="11 hypotheses for 12"):
        decode.main(["--merge", "1", "data/test", "exp/ft/logprobs_test", "out"])
    assert not (workplace / "out/hyp").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--decode", "lm"], "--lm-dir is needed"),
        (["--beam", "5"], "takes no search options"),
        (["--shard", "3/2"], "must lie in 1..2"),
        (["--shard", "x"], "expected N/M"),
        (["--decode", "lm", "--lm-dir", "exp/none"], "steps/make_lm.sh"),
        (["--decode", "lm", "--lm-dir", "exp/lm", "--tuned", "none"], "steps/tune_lm.sh"),
    ],
)
def test_bad_options_are_refused(workplace, options, message):
    with pytest.raises(UserError, match=message):
        decode.main([*options, *PLACE, "out"])


def test_batches_do_not_depend_on_jobs(tmp_path):
    lengths = {f"u{i:02d}": 10 + i * 7 % 40 for i in range(30)}
    batches = plan_batches(lengths, 100)
    assert sorted(u for b in batches for u in b) == sorted(lengths)
    assert all(len(b) * max(lengths[u] for u in b) <= 100 for b in batches)
    assert plan_batches({"long": 500, "short": 1}, 100) == [["long"], ["short"]]
    with pytest.raises(UserError):
        plan_batches(lengths, 0)


def test_what_is_no_distribution_is_not_written(tmp_path):
    with pytest.raises(UserError, match="u: rows do not sum to 1"):
        dump_batches(tmp_path, [["u"]], lambda _: [np.zeros((3, 4), np.float32)], 1, 1)
    with pytest.raises(UserError, match="u: .*NaN"):
        dump_batches(tmp_path, [["u"]], lambda _: [np.full((3, 4), np.nan, np.float32)], 1, 1)
    assert not list(tmp_path.iterdir())


def test_log_probs_are_read_as_written(workplace):
    log_probs = LogProbs.load("exp/ft/logprobs_test")
    assert log_probs.tokens.boundary == 4 and log_probs.too_short == {"s3-011"}
    for rx in read_scp("exp/ft/logprobs_test/logprobs.scp").values():
        assert np.allclose(np.exp(read_mat(rx)).sum(1), 1, atol=1e-5)
    (workplace / "exp/ft/logprobs_test/logprobs.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="format None"):
        LogProbs.load("exp/ft/logprobs_test")
