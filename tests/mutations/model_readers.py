"""Readers of configurations, checkpoints, labels, lists, language models and scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.mutations.case import HERE, Reader
from tests.mutations.corpus_readers import TEXT

BASE = """system = "ctc"

[model]
features = "fbank"
dim = 32
ffn_dim = 64
layers = 2
heads = 2
dropout = 0.1

[optim]
lr = 1e-3
updates = 20
betas = [0.9, 0.98]
schedule = "tri_stage"
"""
TOP = """extends = "base.toml"

[optim]
lr = 5e-4 # a comment
micro_batches = 2

[data]
batch_seconds = 20.0
crop = "random_aligned"

[run]
precision = "fp32"
seed = 3
"""


def write(name: str, text: str) -> None:
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_config() -> None:
    write("base.toml", BASE.replace('features = "fbank"\n', ""))
    write("top.toml", TOP)


def read_config() -> dict[str, Any]:
    from pylib.training.config import from_dict, load_config

    config = load_config(HERE / "top.toml", ["run.log_every=5"]).config
    config.hash()
    assert from_dict(config.as_dict(), "it") == config
    return config.as_dict()


def check_config(config: dict[str, Any]) -> str:
    """Every number is finite and the model is one that can be described."""
    for section, values in config.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, float) and not math.isfinite(number):
                    return f"{section}.{key} = {number}"
    return ""


SMALL = {
    "system": "phone2unit",
    "phone2unit": {
        "clusters": 5, "dim": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1,
        "ffn_dim": 8, "kernel": 3, "duration_dim": 4,
    },
    "phone_data": {},
    "optim": {},
    "run": {},
}  # fmt: skip


def make_checkpoint() -> None:
    from pylib.training import checkpoint
    from pylib.training.build import build_system
    from pylib.training.config import from_dict

    config = from_dict(SMALL, "small")
    payload = {
        "format": checkpoint.FORMAT, "system": config.system, "config": config.as_dict(),
        "model": build_system(config).state_dict(), "vocab": None, "rows": 0, "update": 3,
    }  # fmt: skip
    checkpoint.save(HERE, ["c.pt"], payload)


def read_checkpoint() -> Any:
    from pylib.training import checkpoint

    return checkpoint.load_system(HERE / "c.pt")


def check_checkpoint(found: Any) -> str:
    system, config, payload = found
    own = system.state_dict()
    good = config.system == "phone2unit" and own.keys() == payload["model"].keys()
    return "" if good else "another system, or other weights"


def make_shards() -> None:
    """The state of a run of two processes, each with its rows of every weight and moment."""
    import torch

    from pylib.training import checkpoint, shards
    from pylib.training.sharding import rows_of

    weights = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5)}
    (HERE / "shards_00000003_0").mkdir(parents=True)
    for rank in (0, 1):
        rows = {k: v[slice(*rows_of(len(v), rank, 2))].clone() for k, v in weights.items()}
        part: dict[str, Any] = {
            "format": shards.FORMAT, "world": 2, "rank": rank, "update": 3, "model": rows,
            "optimizer": {number: {"exp_avg": item} for number, item in enumerate(rows.values())},
        }  # fmt: skip
        if rank == 0:
            part["whole"] = {
                "about": {"format": checkpoint.FORMAT, "update": 3}, "model": {},
                "shapes": {name: list(item.shape) for name, item in weights.items()},
                "names": list(weights), "param_groups": [{"lr": 0.1, "params": [0, 1]}],
                "optimizer": {number: {"step": torch.tensor(3.0)} for number in (0, 1)},
            }  # fmt: skip
        checkpoint.write(HERE / "shards_00000003_0" / f"{rank:05d}-of-00002.pt", part)


def read_shards() -> Any:
    from pylib.training import shards

    return shards.load(HERE / "shards_00000003_0")


def check_shards(found: Any) -> str:
    shapes = {name: tuple(item.shape) for name, item in found["model"].items()}
    moments = [tuple(item["exp_avg"].shape) for item in found["optimizer"]["state"].values()]
    good = shapes == {"a": (3, 4), "b": (5,)} and moments == [(3, 4), (5,)]
    return "" if good else f"weights {shapes}, moments {moments}"


def make_changed_checkpoint() -> None:
    """Beside the checkpoint, what is changed in it: a JSON of {path: value}."""
    make_checkpoint()
    parts = {"format": 1, "system": "phone2unit", "config": SMALL, "vocab": None, "rows": 0}
    write("parts.json", json.dumps(parts))


def read_changed_checkpoint() -> Any:
    """The checkpoint whose plain values are those of the damaged JSON."""
    import torch

    from pylib.corpus.errors import UserError

    try:
        parts = json.loads((HERE / "parts.json").read_text(encoding="utf-8"))
        assert isinstance(parts, dict)
    except (ValueError, AssertionError, RecursionError) as error:
        raise UserError("ex/parts.json: no values to put in: none needed") from error
    payload = torch.load(HERE / "c.pt", weights_only=True)
    payload = {"model": payload["model"], **parts}
    whole = (HERE / "c.pt").read_bytes()
    try:
        torch.save(payload, HERE / "c.pt")
        return read_checkpoint()
    finally:
        (HERE / "c.pt").write_bytes(whole)


def make_labels() -> None:
    from pylib.corpus.derived import Derived
    from pylib.units.labels import label_meta

    utts = ["a-1", "a-2", "b-1"]
    HERE.mkdir(exist_ok=True)
    meta = label_meta({"kmeans": "exp/km", "sha256": "0" * 64, "clusters": 7}, 50.0, "start")
    made = Derived(HERE, "labels", HERE / "arks", meta, (b"x",), 1)
    made.write_shard(1, utts, lambda utt: np.arange(20, dtype=np.int32) % 7)
    made.commit(utts)


def read_labels() -> Any:
    from pylib.units.labels import LabelReader

    reader = LabelReader(HERE)
    return {utt: reader.read(utt) for utt in reader.utts}, reader.clusters, reader.rate


def check_labels(found: Any) -> str:
    labels, clusters, rate = found
    good = all(
        len(ids) and not (set(ids.tolist()) - set(range(min(clusters, 99))))
        for ids in labels.values()
    )
    return "" if good and math.isfinite(rate) and rate > 0 else f"{clusters} units at {rate} Hz"


def make_lexicons() -> None:
    from pylib.decoding.lexicon import write_lexicon
    from pylib.decoding.tokens import Tokens, write_tokens
    from pylib.units.letters import VOCABULARY

    HERE.mkdir(exist_ok=True)
    write_tokens(HERE / "tokens.txt", Tokens(VOCABULARY))
    words = ("THE", "CAT", "SAT", "A")
    write_lexicon(HERE / "lexicon.txt", {word: [*word, "|"] for word in words})
    write("phones.txt", ";;; a comment\nTHE DH AH0\nTHE(2) 0.5 DH IY1\nCAT K AE1 T # it\nA AH0\n")


def read_spelling() -> Any:
    from pylib.decoding.lexicon import read_lexicon, read_words
    from pylib.decoding.tokens import read_tokens

    tokens = read_tokens(HERE / "tokens.txt")
    read_words(HERE / "lexicon.txt", "first")
    return read_lexicon(HERE / "lexicon.txt", tokens), tokens


def check_spelling(found: Any) -> str:
    entries, tokens = found
    ids = range(len(tokens.symbols))
    good = all(word and spelling and all(i in ids for i in spelling) for word, spelling in entries)
    return "" if good and len(entries) <= 60 else "a word without letters of the model"


def read_pronunciations() -> Any:
    from pylib.units.pronounce import read_lexicon

    return read_lexicon(HERE / "phones.txt")


def check_pronunciations(lexicon: Any) -> str:
    from pylib.units.phone_set import phone_id

    for variants in lexicon.values():
        for phones in variants:
            [phone_id(phone) for phone in phones]
    return "" if all(lexicon.values()) else "a word without phones"


ARPA = (
    "\\data\\\nngram 1=5\nngram 2=4\n\n\\1-grams:\n-1.0\t<unk>\n0\t<s>\t-0.3\n-0.9\t</s>\n"
    "-0.7\tTHE\t-0.2\n-0.8\tCAT\t-0.1\n\n\\2-grams:\n-0.2\t<s> THE\n-0.3\tTHE CAT\n"
    "-0.4\tCAT </s>\n-0.9\tTHE </s>\n\n\\end\\\n"
)


def make_arpa() -> None:
    import gzip

    write("lm.arpa", ARPA)
    (HERE / "lm.arpa.gz").write_bytes(gzip.compress(ARPA.encode(), mtime=0))


def _read_arpa(name: str) -> Callable[[], Any]:
    def read() -> Any:
        from pylib.decoding.arpa import arpa_counts, read_arpa
        from pylib.decoding.lm_dir import arpa_vocabulary

        arpa_counts(HERE / name)
        arpa_vocabulary(HERE / name)
        model = read_arpa(HERE / name)
        state, total = model.start(), 0.0
        for word in ("THE", "CAT", "DOG"):
            state, score = model.score(state, word)
            total += score
        return total + model.finish(state)[1]

    return read


def is_finite(total: float) -> str:
    return "" if math.isfinite(total) else f"log probability {total}"


def make_lm_dir() -> None:
    from pylib.decoding.lm_dir import register_given

    write("lm/lm.arpa", ARPA)
    register_given(HERE / "lm" / "lm.arpa", HERE / "lm")
    info = json.loads((HERE / "lm" / "lm.json").read_text(encoding="utf-8"))
    write("lm/lm.json", json.dumps({**info, "file": "lm.arpa"}))


def read_kenlm() -> Any:
    from pylib.decoding.lexicon_beam import load_kenlm
    from pylib.decoding.lm_dir import read_lm_info

    _, model = read_lm_info(HERE / "lm")
    lm, _ = load_kenlm(model, ["THE", "CAT"])
    state, total = lm.start(False), 0.0
    for word in (0, 1):
        state, score = lm.score(state, word)
        total += score
    return total + lm.finish(state)[1]


def is_log_probability(value: Any) -> str:
    """What is wrong with a log probability. KenLM takes a number too small for it as impossible."""
    return "" if isinstance(value, float) and value < float("inf") else f"log probability {value}"


def make_kmeans() -> None:
    from pylib.units import kmeans_model
    from pylib.units.kmeans import FitOptions, FitResult

    rng = np.random.default_rng(1)
    values = {"centroids": rng.standard_normal((4, 3)).astype(np.float32), "counts": np.ones(4),
              "inertia_per_frame": 0.5, "frames": 100, "utterances": 3, "updates": 10}  # fmt: skip
    names = FitResult.__dataclass_fields__
    result = FitResult(**{k: v for k, v in values.items() if k in names})
    meta = {"kind": "mfcc", "dim": 3, "rate": 100}
    kmeans_model.save(HERE, result, FitOptions(4), meta, "mfcc", "none", "data/x")


def read_kmeans() -> Any:
    from pylib.units import kmeans_model

    model = kmeans_model.load(HERE)
    model.require({"kind": "mfcc", "dim": 3, "rate": 100}, "it")
    model.meta()
    return model.centroids


def check_kmeans(centroids: Any) -> str:
    return "" if centroids.dtype == np.float32 and centroids.ndim == 2 else "no centroids"


def make_subwords() -> None:
    from pylib.units.subwords import train

    HERE.mkdir(exist_ok=True)
    sentences = [*TEXT.values(), "THE CAT SAT ON A MAT", "THE DOG RAN HOME AGAIN"] * 3
    (HERE / "spm.model").write_bytes(train(sentences, 40))


def read_subwords() -> Any:
    from pylib.units.subwords import Subwords

    model = Subwords.load(HERE / "spm.model")
    return model, model.encode("THE CAT SAT"), model.decode(range(len(model)))


def check_subwords(found: Any) -> str:
    model, ids, _ = found
    good = all(0 <= i < len(model) for i in ids) and model.pieces[0] == "<s>"
    return "" if good else "ids outside the vocabulary"


READERS = (
    Reader("configuration", "numbers are finite; the same again from its own dictionary",
           make_config, read_config, check_config, ("top.toml", "top.toml", "base.toml")),
    Reader("checkpoint", "weights of the configuration's own names and shapes",
           make_checkpoint, read_checkpoint, check_checkpoint, ("c.pt",)),
    Reader("sharded state", "whole weights and moments from the rows of all parts",
           make_shards, read_shards, check_shards, ("shards_00000003_0/*.pt",)),
    Reader("checkpoint values", "as checkpoint; plain values of other types in a whole file",
           make_changed_checkpoint, read_changed_checkpoint, check_checkpoint, ("parts.json",)),
    Reader("labels", "ids of 0 to K - 1, rate above 0",
           make_labels, read_labels, check_labels,
           ("labels.json", "labels.json", "labels.scp", "arks/*/1.ark")),
    Reader("lexicon of letters", "every spelling in ids of the model",
           make_lexicons, read_spelling, check_spelling, ("lexicon.txt", "tokens.txt")),
    Reader("lexicon of phones", "every pronunciation in known phones",
           make_lexicons, read_pronunciations, check_pronunciations, ("phones.txt",)),
    Reader("ARPA", "finite log probability of a sentence",
           make_arpa, _read_arpa("lm.arpa"), is_finite, ("lm.arpa",)),
    Reader("ARPA gzip", "finite log probability of a sentence",
           make_arpa, _read_arpa("lm.arpa.gz"), is_finite, ("lm.arpa.gz",)),
    Reader("KenLM", "log probability of a sentence; -inf where a number says that it cannot be",
           make_lm_dir, read_kenlm, is_log_probability, ("lm/lm.arpa", "lm/lm.arpa", "lm/lm.json")),
    Reader("k-means", "the centroids that the description was written for",
           make_kmeans, read_kmeans, check_kmeans, ("kmeans.json", "centroids.npy")),
    Reader("subwords", "ids within the vocabulary, our special pieces",
           make_subwords, read_subwords, check_subwords, ("spm.model",)),
)  # fmt: skip
