"""Kneser-Ney estimation: against a plain implementation, sums to one, ARPA read by KenLM."""

import gzip
import itertools
import math
import shutil
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.corpus.errors import UserError
from pylib.decoding import lm_dir
from pylib.decoding.arpa import arpa_counts, read_arpa
from pylib.decoding.lm_dir import (
    arpa_vocabulary,
    make_lm,
    read_lm_info,
    register_given,
    text_perplexity,
)
from pylib.decoding.ngram import (
    FALLBACK_DISCOUNTS,
    encode_text,
    estimate,
    kneser_ney_discounts,
    write_arpa,
)

TEXT = [
    "THE CAT SAT",
    "THE DOG SAT ON THE CAT",
    "A CAT",
    "THE CAT SAT ON A DOG",
    "THE DOG",
    "A DOG SAT",
    "THE CAT RAN TO THE MAT",
    "A MAT",
]


def sentences(text):
    return [s.split() for s in text]


class PlainKneserNey:
    """The definition, word by word, with dictionaries (Chen & Goodman, as lmplz does)."""

    def __init__(self, text, order):
        self.order = order
        raw = [Counter() for _ in range(order + 1)]
        for words in text:
            padded = ["<s>", *words, "</s>"]
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    raw[n][tuple(padded[i : i + n])] += 1
        self.counts = [Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram in raw[n]:
                if gram == ("<s>",):
                    continue  # never predicted
                if n == order or gram[0] == "<s>":
                    self.counts[n][gram] = raw[n][gram]
                else:
                    left = {longer[0] for longer in raw[n + 1] if longer[1:] == gram}
                    self.counts[n][gram] = len(left)
        self.vocabulary = {g[0] for g in raw[1]} | {"<unk>"}
        self.discounts = [None]
        for n in range(1, order + 1):
            t = [sum(c == k for c in self.counts[n].values()) for k in range(5)]
            d = FALLBACK_DISCOUNTS
            if t[1] and t[2] and t[3]:
                y = t[1] / (t[1] + 2 * t[2])
                new = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
                if all(0 <= new[k - 1] <= k for k in (1, 2, 3)):
                    d = new
            self.discounts.append(d)
        self.following = defaultdict(list)
        for n in range(1, order + 1):
            for gram, count in self.counts[n].items():
                self.following[gram[:-1]].append((gram[-1], count))

    def discount(self, n, count):
        return min(self.discounts[n][min(count, 3) - 1], count) if count else 0.0

    def prob(self, context, word):
        context = tuple(context)[-(self.order - 1) :] if self.order > 1 else ()
        while context and context not in self.following:
            context = context[1:]
        return self._interpolated(context, word)

    def _interpolated(self, context, word):
        n = len(context) + 1
        total = sum(c for _, c in self.following[context])
        count = self.counts[n][(*context, word)]
        freed = sum(self.discount(n, c) for _, c in self.following[context])
        lower = (
            1.0 / (len(self.vocabulary) - 1)
            if not context
            else self._interpolated(context[1:], word)
        )
        return (count - self.discount(n, count)) / total + freed / total * lower

    def log10(self, words):
        history, total = ["<s>"], 0.0
        for word in [*words, "</s>"]:
            known = word if word in self.vocabulary else "<unk>"
            total += math.log10(self.prob(history, known))
            history.append(known)
        return total


def arpa_of(tmp_path, text, order):
    write_arpa(tmp_path / "lm.arpa", estimate(encode_text(enumerate(text, 1)), order))
    return read_arpa(tmp_path / "lm.arpa")


def log10_of(model, words):
    state, total = model.start(), 0.0
    for word in words:
        state, score = model.score(state, word)
        total += score
    return total + model.finish(state)[1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_the_plain_implementation(tmp_path, order):
    plain = PlainKneserNey(sentences(TEXT), order)
    model = arpa_of(tmp_path, TEXT, order)
    probes = sentences([*TEXT, "DOG THE ON", "THE ZEBRA SAT", "MAT"])
    for words in probes:
        assert log10_of(model, words) == pytest.approx(plain.log10(words), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_random_texts(tmp_path_factory, text, order):
    text = [" ".join(words) for words in text]
    plain = PlainKneserNey(sentences(text), order)
    model = arpa_of(tmp_path_factory.mktemp("lm"), text, order)
    for words in sentences(text[:5]) + [["a", "f", "b"], ["g"]]:
        assert log10_of(model, words) == pytest.approx(plain.log10(words), abs=1e-4)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_sum_to_one(tmp_path, order):
    model = arpa_of(tmp_path, TEXT, order)
    predicted = [w for w in model.words if w != "<s>"]
    words = ["<s>", "THE", "CAT", "ON", "DOG", "NEVER"]
    contexts = [(), *((w,) for w in words), *itertools.product(words, words[1:])]
    for context in contexts:
        total = sum(10 ** model.score(context, word)[1] for word in predicted)
        assert total == pytest.approx(1.0, abs=1e-5)


def test_unk_has_a_real_probability(tmp_path):
    model = arpa_of(tmp_path, TEXT, 3)
    assert -3 < model.score((), "<unk>")[1] < 0
    assert model.score((), "ZEBRA") == model.score((), "<unk>")


def test_kenlm_reads_the_same_scores(tmp_path):
    model = arpa_of(tmp_path, TEXT, 4)
    probes = sentences([*TEXT, "ON THE ZEBRA MAT"])
    expected = -sum(log10_of(model, words) for words in probes)
    tokens = sum(len(words) + 1 for words in probes)
    result = text_perplexity(tmp_path / "lm.arpa", probes, arpa_vocabulary(tmp_path / "lm.arpa"))
    assert result["perplexity"] == pytest.approx(10 ** (expected / tokens), rel=1e-4)
    assert (result["tokens"], result["oov"]) == (tokens, 1)


def test_discounts_by_hand():
    counts = np.array([0, 1, 1, 1, 1, 2, 2, 3, 4])  # t1..t4 = 4 2 1 1; y = 4 / 8
    discounts, fallback = kneser_ney_discounts(counts)
    assert not fallback
    assert discounts == pytest.approx((1 - 2 * 0.5 * 2 / 4, 2 - 3 * 0.5 * 1 / 2, 3 - 4 * 0.5))
    assert kneser_ney_discounts(np.array([5, 6, 7])) == (FALLBACK_DISCOUNTS, True)


def test_vocabulary_limits_the_model(tmp_path):
    encoded = encode_text(enumerate(TEXT, 1), {"THE", "CAT"})
    write_arpa(tmp_path / "lm.arpa", estimate(encoded, 2))
    assert arpa_vocabulary(tmp_path / "lm.arpa") == {"THE", "CAT"}


@pytest.mark.parametrize("text", [[], ["", "  "], ["A </s> B"]])
def test_bad_texts_are_refused(text):
    with pytest.raises(UserError):
        encode_text(enumerate(text, 1))


def test_make_lm_reads_gzip_and_describes_itself(tmp_path):
    with gzip.open(tmp_path / "text.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(TEXT) + "\n")
    made = make_lm(tmp_path / "text.gz", tmp_path / "lm", 3, "python")
    info, model = read_lm_info(tmp_path / "lm")
    assert info == made and info.order == 3 and info.made_by == "python"
    assert arpa_counts(model) == info.ngrams
    (tmp_path / "text").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    again = make_lm(tmp_path / "text", tmp_path / "lm2", 3, "python")
    assert again.sha256 == made.sha256


def test_given_models_stay_where_they_are(tmp_path):
    made = make_lm_file(tmp_path)
    packed = tmp_path / "given.arpa.gz"
    packed.write_bytes(gzip.compress(made.read_bytes()))
    info = register_given(packed, tmp_path / "lm2")
    assert info.made_by == "given" and info.order == 2
    _, model = read_lm_info(tmp_path / "lm2")
    assert model == packed
    assert text_perplexity(model, [["THE", "CAT"]])["perplexity"] > 1


def make_lm_file(tmp_path):
    (tmp_path / "text").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    make_lm(tmp_path / "text", tmp_path / "lm", 2, "python")
    return tmp_path / "lm" / "lm.arpa"


def test_broken_arpa_files_are_refused(tmp_path):
    whole = make_lm_file(tmp_path)
    text = whole.read_text(encoding="utf-8")
    whole.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(UserError, match="cut short|not a 2-gram"):
        read_arpa(whole)
    (tmp_path / "other").write_text("hello\n", encoding="utf-8")
    with pytest.raises(UserError, match="does not begin as an ARPA"):
        register_given(tmp_path / "other", tmp_path / "lm3")
    (tmp_path / "lm" / "lm.json").unlink()
    with pytest.raises(UserError, match="run steps/make_lm.sh"):
        read_lm_info(tmp_path / "lm")


def test_a_text_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    """LibriSpeech's LM text would take hundreds of gigabytes: by its size, unless asked for."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(lm_dir, "_PYTHON_WORDS", 1000)
    (tmp_path / "text").write_text("a few words here\n" * 500, encoding="utf-8")
    with pytest.raises(UserError, match=r"text: about 0 million words.*--given"):
        make_lm(tmp_path / "text", tmp_path / "lm", 2)
    assert not (tmp_path / "lm").exists()
    assert make_lm(tmp_path / "text", tmp_path / "lm", 2, "python").made_by == "python"


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="lmplz is not on PATH")
def test_agrees_with_lmplz(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"W{i}" for i in range(80)]
    weights = 1 / np.arange(1, 81)
    text = [" ".join(rng.choice(words, size=8, p=weights / weights.sum())) for _ in range(2000)]
    (tmp_path / "text").write_text("\n".join(text) + "\n", encoding="utf-8")
    make_lm(tmp_path / "text", tmp_path / "ours", 3, "python")
    make_lm(tmp_path / "text", tmp_path / "theirs", 3, "lmplz")
    probe = [s.split() for s in text[:50]] + [["W3", "NEW", "W7"]]
    ours = text_perplexity(tmp_path / "ours" / "lm.arpa", probe)
    theirs = text_perplexity(tmp_path / "theirs" / "lm.arpa", probe)
    assert ours["perplexity"] == pytest.approx(theirs["perplexity"], rel=1e-3)


def test_lmplz_is_given_plain_sentences_and_its_failure_is_told(tmp_path, monkeypatch):
    arpa = make_lm_file(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    fake = tools / "lmplz"
    fake.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/args\ncat > {tmp_path}/seen\ncat {arpa}\n',
        encoding="utf-8",
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (tmp_path / "text.gz").write_bytes(gzip.compress("ÖL A\nB\n".encode()))
    info = make_lm(tmp_path / "text.gz", tmp_path / "lm4", 2)
    assert info.made_by == "lmplz" and info.sha256 == read_lm_info(tmp_path / "lm")[0].sha256
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "ÖL A\nB\n"
    assert (tmp_path / "args").read_text(encoding="utf-8").startswith("-o 2 -S 50%")
    fake.write_text("#!/bin/sh\necho no discounts >&2\nexit 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="exit 3: no discounts"):
        make_lm(tmp_path / "text.gz", tmp_path / "lm5", 2)
    assert not (tmp_path / "lm5" / "lm.arpa").exists()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="not on PATH"):
        make_lm(tmp_path / "text.gz", tmp_path / "lm5", 2, "lmplz")


ARPA = "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\t-0.3\n-0.9\tA\t-0.1\n\n"
ARPA += "\\2-grams:\n-0.2\t<s> A\n\n\\end\\\n"


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("-0.9\tA", "x\tA", r"lm.arpa:8: not a 1-gram line"),
        ("-0.9\tA", "nan\tA", r"lm.arpa:8: not a 1-gram line"),
        ("-0.9\tA", "0.5\tA", r"lm.arpa:8: not a 1-gram line"),
        ("-0.9\tA\t-0.1", "A", r"lm.arpa:8: not a 1-gram line"),
        ("-0.9\tA\t-0.1\n", "-0.9\tA\t-0.1\n" * 2, r"lm.arpa:9: 'A' is there twice"),
        ("-0.9\tA\t-0.1\n", "", r"\[2, 1\] n-grams, the header says \[3, 1\]"),
        ("\\2-grams", "\\3-grams", r"lm.arpa:10: .*not in the header"),
    ],
)
def test_damaged_arpa_files_are_refused_with_the_line(tmp_path, old, new, message):
    assert old in ARPA
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA, encoding="utf-8")
    assert read_arpa(path).words == ["<s>", "<unk>", "A"]
    path.write_text(ARPA.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_arpa(path)


def test_damaged_bytes_of_arpa_files_are_refused(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_bytes(ARPA.encode().replace(b"<unk>", b"<\xffnk>"))
    for reader in (arpa_counts, read_arpa, arpa_vocabulary):
        with pytest.raises(UserError, match="lm.arpa:.*not UTF-8"):
            reader(path)
    packed = bytearray(gzip.compress(ARPA.encode()))
    packed[30] ^= 255
    path.write_bytes(bytes(packed))
    with pytest.raises(UserError, match="lm.arpa.*(broken gzip|not UTF-8|does not begin)"):
        read_arpa(path)
    path.write_text(ARPA.replace("-0.9\tA\t-0.1", "A"), encoding="utf-8")
    with pytest.raises(UserError, match="lm.arpa:8: not a 1-gram line"):
        arpa_vocabulary(path)
