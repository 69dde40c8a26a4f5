"""JSON files that people and other programs may have had their hands in."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from pylib.corpus.errors import UserError


def read_json(path: str | os.PathLike[str], advice: str, missing: str = "") -> Any:
    """Content of a JSON file whose numbers are all finite and whose texts are all UTF-8.

    Args:
        path: the file.
        advice: what to do about a broken one.
        missing: what to do about a missing one; '' = `advice`.

    Raises:
        UserError: missing, a directory, not UTF-8, not JSON, nested without end, NaN, infinite or
            enormous numbers, halves of characters.
    """
    name = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8")
        value = json.loads(text, parse_float=_finite, parse_constant=_finite, parse_int=_integer)
        if "\\ud" in text.lower():  # an escape that may stand for half a character
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "is a directory"
        raise UserError(f"{name}: {what}: {missing or advice}") from error
    except (ValueError, RecursionError) as error:  # both of Unicode's are ValueErrors
        reason = str(error) or type(error).__name__
        raise UserError(f"{name}: not readable as JSON ({reason}): {advice}") from error
    return value


def read_object(path: str | os.PathLike[str], advice: str, missing: str = "") -> dict[str, Any]:
    """`read_json` of a file that holds an object; UserError where it holds something else."""
    value = read_json(path, advice, missing)
    if not isinstance(value, dict):
        raise UserError(f"{os.fspath(path)}: a JSON object was expected: {advice}")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _integer(text: str) -> int:
    if len(text) > 30:
        raise ValueError(f"{text[:20]}... is no number that anything here counts")
    return int(text)
