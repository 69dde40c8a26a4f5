"""The beam search against exhaustive enumeration and against the plain-Python search."""

import itertools
import re

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.decoding.arpa import read_arpa
from pylib.decoding.greedy import collapse
from pylib.decoding.lexicon import read_lexicon, spell, write_lexicon
from pylib.decoding.lexicon_beam import BeamOptions, LexiconBeam, load_kenlm
from pylib.decoding.ngram import encode_text, estimate, write_arpa
from pylib.decoding.reference_beam import ReferenceBeam
from pylib.decoding.tokens import Tokens

TOY = Tokens(("<s>", "|", "A", "B"))
TEXT = ["AB A", "A AB B", "B", "AB AB A", "B A B", "A", "A B AB", "BA A"]


def make(tmp_path, tokens, words, text, order=3):
    lexicon, refused = spell(words, tokens.letters)
    assert not refused
    write_lexicon(tmp_path / "lexicon.txt", lexicon)
    model = estimate(encode_text(enumerate(text, 1)), order)
    write_arpa(tmp_path / "lm.arpa", model)
    beam = LexiconBeam(tmp_path / "lexicon.txt", tmp_path / "lm.arpa", tokens)
    reference = ReferenceBeam(
        read_lexicon(tmp_path / "lexicon.txt", tokens), read_arpa(tmp_path / "lm.arpa"), tokens
    )
    return beam, reference


def random_log_probs(rng, frames, width, peak=1.5):
    logits = rng.normal(size=(frames, width)) * peak
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def exhaustive(log_probs, words, lm, options, tokens=TOY):
    """(best score, words) over every path of frames; '' when no path spells words."""
    pattern = re.compile(r"\|*(?:(?:" + "|".join(map(re.escape, words)) + r")\|+)*")
    best = (-np.inf, [])
    lm_of = {}
    for path in itertools.product(range(len(tokens.symbols)), repeat=len(log_probs)):
        text = "".join(tokens.symbols[i] for i in collapse(path, tokens.blank))
        if not pattern.fullmatch(text):
            continue
        found = tuple(text.replace("|", " ").split())
        if found not in lm_of:
            state, total = lm.start(), 0.0
            for word in found:
                state, score = lm.score(state, word)
                total += score
            lm_of[found] = total + lm.finish(state)[1]
        score = float(sum(log_probs[t, i] for t, i in enumerate(path)))
        score += options.lm_weight * lm_of[found] + options.word_score * len(found)
        score += options.sil_score * sum(i == tokens.boundary for i in path)
        if score > best[0]:
            best = (score, list(found))
    return best


@pytest.mark.parametrize(
    "options",
    [
        BeamOptions(beam=5000, beam_threshold=1000.0, lm_weight=2.0, word_score=-1.0),
        BeamOptions(beam=5000, beam_threshold=1000.0, lm_weight=0.0, word_score=0.5),
        BeamOptions(beam=5000, beam_threshold=1000.0, lm_weight=1.0, sil_score=-0.3),
    ],
)
def test_equals_exhaustive_search(tmp_path, options):
    words = ["A", "AB", "B", "BA"]
    beam, reference = make(tmp_path, TOY, words, TEXT)
    lm = read_arpa(tmp_path / "lm.arpa")
    rng = np.random.default_rng(3)
    for _ in range(6):
        log_probs = random_log_probs(rng, 6, 4)
        score, found = exhaustive(log_probs, words, lm, options)
        assert score > -np.inf
        for search in (beam, reference):
            result = search.decode(log_probs, options)
            assert result.words == found
            assert result.score == pytest.approx(score, abs=1e-4)


def test_equals_reference_on_longer_input(tmp_path):
    symbols = ("<s>", "<pad>", "</s>", "<unk>", "|", *"ETAONIHS'")
    tokens = Tokens(symbols)
    words = ["THE", "AT", "TO", "NOT", "SHE", "SHE'S", "A", "AN", "TEN", "TENT", "ITS"]
    rng = np.random.default_rng(1)
    text = [" ".join(rng.choice(words, size=rng.integers(1, 6))) for _ in range(60)]
    beam, reference = make(tmp_path, tokens, words, text)
    options = BeamOptions(beam=400, beam_threshold=100.0, lm_weight=1.5, word_score=-0.5)
    for _ in range(4):
        log_probs = random_log_probs(rng, 25, len(symbols), 2.0)
        # Without any path that ends between words, flashlight's score keeps its LM look-ahead.
        log_probs[-1] = random_log_probs(rng, 1, len(symbols), 0.1)
        log_probs[-1, tokens.boundary] = -0.01
        ours, theirs = beam.decode(log_probs, options), reference.decode(log_probs, options)
        assert ours.words == theirs.words
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)
        assert ours.lm_score == pytest.approx(theirs.lm_score, abs=1e-3)


def test_only_lexicon_words_come_out(tmp_path):
    beam, _ = make(tmp_path, TOY, ["AB"], TEXT)
    log_probs = np.full((4, 4), -8.0, dtype=np.float32)
    log_probs[np.arange(4), [3, 2, 1, 0]] = -0.01  # spells BA, which is not in the lexicon
    assert beam.decode(log_probs, BeamOptions()).words in ([], ["AB"])


def test_repeated_calls_and_options_do_not_disturb_each_other(tmp_path):
    beam, _ = make(tmp_path, TOY, ["A", "AB", "B", "BA"], TEXT)
    log_probs = random_log_probs(np.random.default_rng(7), 30, 4)
    first = beam.decode(log_probs, BeamOptions(lm_weight=0.5))
    beam.decode(log_probs, BeamOptions(lm_weight=4.0))
    assert beam.decode(log_probs, BeamOptions(lm_weight=0.5)) == first


def test_no_frames_is_the_empty_hypothesis(tmp_path):
    beam, _ = make(tmp_path, TOY, ["A"], TEXT)
    assert beam.decode(np.zeros((0, 4), np.float32), BeamOptions()).words == []


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros((3, 5), np.float32), "5 columns"),
        (np.full((3, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_bad_log_probs_are_refused(tmp_path, log_probs, message):
    beam, _ = make(tmp_path, TOY, ["A"], TEXT)
    with pytest.raises(UserError, match=message):
        beam.decode(log_probs, BeamOptions())


def test_bad_models_are_refused(tmp_path, capfd):
    with pytest.raises(UserError, match="no language model"):
        load_kenlm(tmp_path / "none.arpa", ["A"])
    (tmp_path / "broken.arpa").write_text("this is text\n", encoding="utf-8")
    with pytest.raises(UserError, match="KenLM cannot read"):
        load_kenlm(tmp_path / "broken.arpa", ["A"])
    (tmp_path / "broken.arpa").write_bytes(b"\\data\\\nngram 1=1\n\n\\1-grams:\n\xbc\xff\n")
    with pytest.raises(UserError, match="KenLM cannot read"):  # its message quotes the bytes
        load_kenlm(tmp_path / "broken.arpa", ["A"])


@pytest.mark.parametrize("bad", [{"beam": 0}, {"beam_threshold": 0.0}, {"beam_tokens": -1}])
def test_bad_options_are_refused(bad):
    with pytest.raises(UserError, match="needed"):
        BeamOptions(**bad)
