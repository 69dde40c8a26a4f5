"""Readers of arks, data directories, audio and video, with small valid examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from pylib.corpus.errors import UserError
from tests.mutations.case import HERE, Reader

RATE = 16000
SAMPLES = {"a-1": 3200, "a-2": 4000, "b-1": 3600, "c-1": 4800}
TEXT = {"a-1": "HELLO WORLD", "a-2": "A SHIP", "b-1": "THE END", "c-1": "ONE MORE"}
TABLES = ("utt2spk", "spk2utt", "text", "wav.scp", "utt2dur", "utt2num_samples", "spk2gender")


def sound(count: int, seed: int = 0) -> np.ndarray:
    """Coloured noise, float32 (count,)."""
    noise = np.random.default_rng(seed).standard_normal(count)
    return (0.1 * np.convolve(noise, np.ones(8) / 8, "same")).astype(np.float32)


def _arks(compression: int, ints: bool = False) -> Callable[[], None]:
    def make() -> None:
        from pylib.corpus.ark import ArkWriter

        rng = np.random.default_rng(1)
        with ArkWriter(HERE / "a.ark", HERE / "a.scp", compression) as writer:
            for number, key in enumerate(("a-1", "a-2", "b-1")):
                if ints:
                    writer.write(key, rng.integers(0, 9, 20 + number).astype(np.int32))
                else:
                    shape = (6 + number, 5) if number or compression else (7,)
                    writer.write(key, rng.standard_normal(shape).astype(np.float32))

    return make


def read_arks() -> dict[str, np.ndarray]:
    from pylib.corpus.ark import iter_scp

    return dict(iter_scp(HERE / "a.scp"))


def check_arks(arrays: dict[str, np.ndarray]) -> str:
    size = (HERE / "a.ark").stat().st_size
    if list(arrays) != [line.split(b" ")[0].decode() for line in lines_of(HERE / "a.scp")]:
        return "keys are not those of the scp"
    for key, array in arrays.items():
        if array.ndim not in (1, 2) or array.size > size:
            return f"{key}: {array.dtype} {array.shape} out of {size} bytes"
    return ""


def lines_of(path: Any) -> list[bytes]:
    return [line for line in path.read_bytes().replace(b"\t", b" ").split(b"\n") if line]


def make_data(where: str = "", prefix: str = "", audio: bool = True) -> None:
    """A valid data directory `ex/<where>` with features and labels."""
    from pylib.corpus.ark import ArkWriter
    from pylib.corpus.atomic import write_json
    from pylib.corpus.audio import write_audio
    from pylib.corpus.datadir import write_datadir

    folder = HERE / where
    samples = {prefix + utt: count for utt, count in SAMPLES.items()}
    wav = {utt: str(HERE / "audio" / f"{utt}.flac") for utt in samples}
    if audio:
        for seed, (utt, count) in enumerate(samples.items()):
            write_audio(wav[utt], sound(count, seed), RATE)
    frames = {utt: (count - 400) // 160 + 1 for utt, count in samples.items()}
    write_datadir(
        folder,
        wav=wav,
        utt2spk={utt: utt[:-2] for utt in samples},
        text={prefix + utt: words for utt, words in TEXT.items()},
        utt2dur={utt: count / RATE for utt, count in samples.items()},
        utt2num_samples=samples,
        spk2gender={utt[:-2]: "f" for utt in samples},
        extra={"utt2num_frames": frames},
    )
    rng = np.random.default_rng(1)
    arks = HERE / "arks" / (where or "it")
    with ArkWriter(f"{arks}.ark", folder / "feats.scp", 2) as writer:
        for utt, count in frames.items():
            writer.write(utt, rng.standard_normal((count, 3)).astype(np.float32))
    write_json(folder / "feats.json", {"kind": "fbank", "dim": 3, "rate": 100})
    with ArkWriter(f"{arks}_km.ark", folder / "labels.scp") as writer:
        for utt, count in samples.items():
            writer.write(utt, rng.integers(0, 4, (count - 400) // 320 + 1).astype(np.int32))
    write_json(folder / "labels.json", {"rate": 50, "clusters": 4, "kmeans": "exp/km"})


def make_one() -> None:
    make_data("d")


def make_segments() -> None:
    """A data directory of two recordings with stretches of them, and NIST files."""
    from pylib.corpus.audio import write_audio
    from pylib.corpus.datadir import Segment, write_datadir

    for reco, count in (("a-r", 8000), ("b-r", 4800)):
        write_audio(HERE / "audio" / f"{reco}.wav", sound(count), RATE)
    cuts = {"a-1": ("a-r", 0, 0.2), "a-2": ("a-r", 0.2, 0.5), "b-1": ("b-r", 0, 0.3)}
    write_datadir(
        HERE / "d",
        wav={reco: str(HERE / "audio" / f"{reco}.wav") for reco in ("a-r", "b-r")},
        utt2spk={utt: utt[:-2] for utt in cuts},
        text={utt: TEXT[utt] for utt in cuts},
        segments={utt: Segment(*cut) for utt, cut in cuts.items()},
        utt2dur={utt: end - begin for utt, (_, begin, end) in cuts.items()},
        extra={
            "reco2dur": {"a-r": 0.5, "b-r": 0.3},
            "reco2file_and_channel": {"a-r": "a-r A", "b-r": "b-r A"},
            "utt2uniq": {utt: utt for utt in cuts},
            "utt2lang": dict.fromkeys(cuts, "en"),
            "spk2warp": {"a": "1.01", "b": "0.99"},
        },
    )
    (HERE / "d" / "frame_shift").write_text("0.01\n", encoding="utf-8")
    ctm = "".join(f"{utt} 1 0.00 0.05 AH\n{utt} 1 0.05 0.10 B\n" for utt in cuts)
    (HERE / "d" / "phones.ctm").write_text(ctm, encoding="utf-8")


def bin_main(verb: str, *argv: str) -> None:
    """A verb as its step calls it; its exit status becomes an exception as `entry.run` has it."""
    import contextlib
    import importlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = importlib.import_module(f"pylib.bin.{verb}").main(list(argv))
    if code:
        raise UserError(said.getvalue().strip() or f"{verb}: exit {code} and not a word")


def validate_all() -> list[str]:
    bin_main("validate_data_dir", "ex/d", "--check-audio=full", "--check-ark=full")
    return []


def validate_segments() -> list[str]:
    bin_main("validate_data_dir", "ex/d", "--check-audio=header", "--no-feats")
    return []


def same_tables(_: Any) -> str:
    """A directory found valid has its tables in order and can be opened by every verb."""
    from pylib.corpus.datadir import DataDir
    from pylib.corpus.layout import Contents

    try:
        Contents.load(HERE / "d")
        data = DataDir.load(HERE / "d")
        if data.utts != sorted(data.utts) or not all(data.utt2dur[u] > 0 for u in data.utts):
            return "utterances out of order, or without length"
        for utt in data.utts:
            data.read_utt(utt)
    except UserError as error:
        return f"found valid, and then refused: {error}"
    return ""


def load_all() -> dict[str, int]:
    from pylib.corpus.datadir import DataDir

    data = DataDir.load(HERE / "d")
    assert data.utt2dur.keys() == data.utt2num_samples.keys() == data.utt2spk.keys()
    return {utt: len(data.read_utt(utt)) for utt in data.utts}


def check_loaded(counts: dict[str, int]) -> str:
    keys = [line.split(b" ")[0].decode() for line in lines_of(HERE / "d" / "utt2spk")]
    return "" if list(counts) == keys and all(counts.values()) else "not the lines of utt2spk"


def _verb(name: str, *argv: str) -> Callable[[], None]:
    return lambda: bin_main(name, *argv)


def sizes_add_up(parts: Sequence[str], whole: Sequence[str]) -> Callable[[Any], str]:
    """What is written can be read, and has each utterance of its sources once."""

    def check(_: Any) -> str:
        from pylib.corpus.layout import Contents

        try:
            made = [Contents.load(HERE / part) for part in parts]
            given = [Contents.load(HERE / part) for part in whole]
        except UserError as error:
            return f"what was written is refused: {error}"
        names = sorted(utt for one in made for utt in one.utt2spk)
        wanted = sorted(utt for one in given for utt in one.utt2spk)
        return "" if names == wanted else "other utterances than in the source"

    return check


def part_of_source(_: Any) -> str:
    from pylib.corpus.layout import Contents

    made, given = Contents.load(HERE / "out"), Contents.load(HERE / "d")
    good = len(made.utt2spk) == 2 and made.utt2spk.items() <= given.utt2spk.items()
    return "" if good and made.utt.keys() == given.utt.keys() else "not 2 utterances of the source"


def check_fixed(_: Any) -> str:
    """A fixed directory keeps at least half and is one that every verb opens."""
    from pylib.corpus.datadir import DataDir
    from pylib.corpus.layout import Contents

    try:
        kept = Contents.load(HERE / "d").utt2spk
        DataDir.load(HERE / "d")
    except UserError as error:
        return f"fixed, and then refused: {error}"
    return "" if 2 <= len(kept) <= 8 else f"{len(kept)} utterances are left"


def make_two() -> None:
    make_data("d")
    make_data("e", "x")


def make_wavs() -> None:
    import soundfile

    HERE.mkdir(exist_ok=True)
    soundfile.write(HERE / "a.wav", sound(1600), RATE, subtype="PCM_16")
    soundfile.write(HERE / "b.wav", sound(1600), RATE, subtype="FLOAT")
    soundfile.write(HERE / "a.flac", sound(9000), RATE, format="FLAC", subtype="PCM_16")


def _read_audio(*names: str) -> Callable[[], list[tuple[int, np.ndarray]]]:
    def read() -> list[tuple[int, np.ndarray]]:
        from pylib.corpus.audio import audio_info, read_audio

        return [(audio_info(HERE / n)[0], read_audio(HERE / n, RATE)) for n in names]

    return read


def check_sound(found: list[tuple[int, np.ndarray]]) -> str:
    for count, samples in found:
        if len(samples) != count or not np.isfinite(samples).all() or len(samples) > 1 << 20:
            return f"{len(samples)} samples, {count} promised, or not finite"
    return ""


def make_video() -> None:
    from tests.corpus.videos import chirp, write_mp4

    write_mp4(HERE / "a.mp4", 12, chirp(0.48))
    write_mp4(HERE / "b.mp4", 10, chirp(0.4), faststart=True)


def read_video() -> list[Any]:
    from pylib.corpus.video import probe, read_audio, read_grey

    out = []
    for name in ("a.mp4", "b.mp4"):
        info = probe(HERE / name)
        shapes = [picture.shape for picture in islice(read_grey(HERE / name), 200)]
        out.append((info, shapes, len(read_audio(HERE / name))))
    return out


def check_video(found: list[Any]) -> str:
    for info, shapes, samples in found:
        if len(set(shapes)) != 1 or shapes[0] != (info.height, info.width):
            return f"pictures {set(shapes)} in a file of {info.width} x {info.height}"
        if not 0 < samples < 1 << 24:
            return f"{samples} samples of sound"
    return ""


def make_mouth() -> None:
    from pylib.corpus.ark import ArkWriter
    from pylib.features.mouth_store import COMPRESSION, to_matrix

    pictures = np.random.default_rng(1).integers(0, 256, (2, 96, 96)).astype(np.uint8)
    with ArkWriter(HERE / "m.ark", HERE / "m.scp", COMPRESSION) as writer:
        writer.write("a-1", to_matrix(pictures))
        writer.write("a-2", to_matrix(pictures[:1]))


def read_mouths() -> list[np.ndarray]:
    from pylib.corpus.ark import ArkReader, read_scp
    from pylib.features.mouth_store import read_mouth

    with ArkReader() as reader:
        return [read_mouth(reader, rx, utt) for utt, rx in read_scp(HERE / "m.scp").items()]


def check_mouths(found: list[np.ndarray]) -> str:
    good = all(p.dtype == np.uint8 and p.shape[1:] == (96, 96) and len(p) < 3 for p in found)
    return "" if good else "not pictures of 96 x 96"


ARKS = "each item has a known type and a shape whose bytes lie within the file; keys as in the scp"
DATA = tuple(f"d/{name}" for name in (*TABLES, "utt2num_frames", "feats.scp", "labels.scp"))
SEGMENTED = tuple(
    f"d/{name}"
    for name in (
        "utt2spk", "segments", "segments", "wav.scp", "text", "utt2dur", "reco2dur", "utt2uniq",
        "reco2file_and_channel", "utt2lang", "spk2warp", "frame_shift", "phones.ctm",
    )
)  # fmt: skip
ARK_FILES = ("a.ark", "a.ark", "a.scp")
READERS = (
    Reader("ark float", ARKS, _arks(0), read_arks, check_arks, ARK_FILES),
    Reader("ark CM", ARKS, _arks(2), read_arks, check_arks, ARK_FILES),
    Reader("ark CM2", ARKS, _arks(3), read_arks, check_arks, ARK_FILES),
    Reader("ark CM3", ARKS, _arks(5), read_arks, check_arks, ARK_FILES),
    Reader("ark int32", ARKS, _arks(0, True), read_arks, check_arks, ARK_FILES),
    Reader(
        "mouth pictures", "uint8 (T, 96, 96) out of the file's own bytes",
        make_mouth, read_mouths, check_mouths, ("m.ark", "m.scp"),
    ),
    Reader(
        "validate", "what is found valid is opened by every verb, and every utterance is read",
        make_one, validate_all, same_tables,
        (*DATA, "d/feats.json", "d/labels.json", "arks/d.ark", "arks/d_km.ark", "audio/a-1.flac"),
    ),
    Reader(
        "validate segments", "as validate, with stretches of recordings",
        make_segments, validate_segments, lambda _: "", (*SEGMENTED, "audio/a-r.wav"),
    ),
    Reader(
        "data directory", "utterances are the lines of utt2spk, each with its sound",
        make_one, load_all, check_loaded, (*DATA[:6], "audio/a-2.flac"),
    ),
    Reader(
        "fix", "what is left is a directory that every verb opens",
        make_one, _verb("fix_data_dir", "--max-drop=0.5", "ex/d"), check_fixed, DATA,
        ("ex/d/",),
    ),
    Reader(
        "subset", "2 utterances of the source with all its files",
        make_one, _verb("subset_data_dir", "ex/d", "2", "ex/out"), part_of_source,
        (*DATA, "d/feats.json"), ("ex/out/",),
    ),
    Reader(
        "split", "each utterance of the source in one part",
        make_one, _verb("split_data", "ex/d", "3"),
        sizes_add_up(("d/split3/1", "d/split3/2", "d/split3/3"), ("d",)), DATA, ("ex/d/split3/",),
    ),
    Reader(
        "split segments", "each utterance of the source in one part",
        make_segments, _verb("split_data", "--per-utt=true", "ex/d", "2"),
        sizes_add_up(("d/split2utt/1", "d/split2utt/2"), ("d",)), SEGMENTED, ("ex/d/split2utt/",),
    ),
    Reader(
        "combine", "each utterance of the sources once",
        make_two, _verb("combine_data", "ex/out", "ex/d", "ex/e"),
        sizes_add_up(("out",), ("d", "e")), (*DATA, "e/utt2spk", "d/labels.json"), ("ex/out/",),
    ),
    Reader(
        "copy", "as many utterances as the source has",
        make_one, _verb("copy_data_dir", "--utt-prefix=p-", "--spk-prefix=p-", "ex/d", "ex/out"),
        lambda _: "", DATA, ("ex/out/",), True,
    ),
    Reader(
        "flac", "as many finite samples as the header says",
        make_wavs, _read_audio("a.flac"), check_sound, ("a.flac",),
    ),
    Reader(
        "wav", "as many finite samples as the header says",
        make_wavs, _read_audio("a.wav", "b.wav"), check_sound, ("a.wav", "b.wav"),
    ),
    Reader(
        "mp4", "pictures of the size that the header gives, and sound",
        make_video, read_video, check_video, ("a.mp4", "b.mp4"),
    ),
)  # fmt: skip
