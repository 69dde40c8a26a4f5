"""Pieces of words for attention decoders: a SentencePiece unigram model and its use.

Text is lower-cased before it is cut into pieces and comes back in upper case, as transcripts are.
Ids: 0 bos (and CTC's blank), 1 padding, 2 end of sentence, 3 unknown, then the pieces.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pylib.corpus.errors import UserError

BOS, PAD, EOS, UNK = 0, 1, 2, 3
BLANK = BOS
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
SPACE = "\u2581"  # SentencePiece's mark of a word's beginning


class Subwords:
    """A model of pieces.

    Attributes:
        model: the bytes of `spm.model`.
        pieces: all pieces in the order of their ids.
        sha256: of the bytes.
    """

    def __init__(self, model: bytes, where: str = "spm.model") -> None:
        """
        Args:
            model: bytes of a SentencePiece model.
            where: named in errors.

        Raises:
            UserError: not a model, or with other special ids than ours.
        """
        import sentencepiece

        self.model = bytes(model)
        self.sha256 = hashlib.sha256(self.model).hexdigest()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=self.model)
            count = self._processor.get_piece_size()
            self.pieces = tuple(self._processor.id_to_piece(i) for i in range(count))
        except (RuntimeError, OSError, UnicodeDecodeError):  # the last: of damaged pieces
            count = 0
        if not count:
            raise UserError(f"{where}: not a SentencePiece model: make it with train_subwords.sh")
        if self.pieces[: len(SPECIALS)] != SPECIALS:
            raise UserError(
                f"{where}: begins with {' '.join(self.pieces[:4])}, {' '.join(SPECIALS)} expected: "
                "make it with steps/train_subwords.sh"
            )

    @classmethod
    def load(cls, path: str | Path) -> Subwords:
        """Read `spm.model`, or the directory it is in. UserError if it is not one."""
        path = Path(path)
        path = path / "spm.model" if path.is_dir() else path
        try:
            return cls(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such model: make it with steps/train_subwords.sh"
            ) from None

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str, where: str = "transcript") -> list[int]:
        """Ids of a transcript's pieces, without bos and eos.

        Args:
            text: words between white space, in any case.
            where: named in errors.

        Raises:
            UserError: there is no word.
        """
        ids = self._processor.encode(plain(text))
        if not ids:
            raise UserError(f"{where}: the transcript has no word: leave the utterance unlabelled")
        return list(ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Words of piece ids in upper case, one space between them; specials are dropped."""
        return " ".join(words_of(self.pieces, ids))


def plain(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())


def words_of(pieces: Sequence[str], ids: Iterable[int]) -> list[str]:
    """Words, in upper case, that ids spell with these pieces; specials are dropped."""
    spelled = "".join(pieces[i] for i in ids if i >= len(SPECIALS))
    return spelled.replace(SPACE, " ").upper().split()


def train(sentences: Iterable[str], vocab: int) -> bytes:
    """A unigram model of at most `vocab` pieces, specials included.

    Args:
        sentences: transcripts in any case and order; the same ones give the same bytes. Small
            texts give fewer pieces than asked for.

    Raises:
        UserError: no words, or too few pieces for the characters of the text.
    """
    import sentencepiece

    # Sorted: the pieces depend on what is said, not on the order in which tables list it.
    filled = sorted(line for text in sentences if (line := plain(text)))
    if not filled:
        raise UserError("subwords: the text has no words: give transcripts to learn from")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(filled),
            model_writer=written,
            vocab_size=vocab,
            model_type="unigram",
            character_coverage=1.0,
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            max_sentence_length=1 << 20,
            num_threads=1,  # sums of several threads would depend on their order
            bos_id=BOS,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"subwords: {vocab} pieces cannot be learnt from this text ({reason}): ask for another "
            "number with --vocab"
        ) from None
    return written.getvalue()
