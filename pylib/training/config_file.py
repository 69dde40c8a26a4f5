"""One TOML file of settings and those it extends, as flat values with the lines they stand on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pylib.corpus.errors import UserError

LARGEST = 1 << 20  # bytes of a configuration file
DEEP_NAME = re.compile(r"(?<![\w-])(?:(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}")


def read_flat(
    path: Path, chain: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], dict[str, str], set[str]]:
    """Values of a file and of all it extends, by `section.key`.

    chain: the files, resolved, that led here.
    Returns the values, where each stands (`file:line`), and the keys that only extended files have.
    Raises UserError naming file and line.
    """
    try:
        resolved = path.resolve()
    except ValueError as error:  # a NUL within the name
        raise UserError(f"{str(path)!r}: not the name of a file ({error}): correct it") from None
    if resolved in chain:
        names = " -> ".join(str(item) for item in (*chain, resolved))
        raise UserError(f"{path}: extends: the files extend each other ({names}): break the cycle")
    asked = f" (asked for by {chain[-1]})" if chain else ""
    try:
        text = _text(path, asked)
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file{asked}: check the name") from None
    except (ValueError, RecursionError) as error:  # bytes, grammar, numbers of 5,000 digits
        raise UserError(f"{path}: not valid TOML: {error}: correct the line") from None
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    inherited: set[str] = set()
    parents = raw.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(item, str) for item in parents):
        raise UserError(
            f"{path}:{_line_of(text, 'extends', None)}: extends: expected the name of a file or a "
            f"list of names, got {parents!r}"
        )
    for parent in parents:
        more, where, _ = read_flat(path.parent / parent, (*chain, resolved))
        values |= more
        origins |= where
    inherited |= set(values)
    for name, section in raw.items():
        items = section.items() if isinstance(section, dict) else [(None, section)]
        for key, value in items:
            full = name if key is None else f"{name}.{key}"
            values[full] = value
            origins[full] = f"{path}:{_line_of(text, name, key)}"
            inherited.discard(full)
    return values, origins, inherited


def _text(path: Path, asked: str) -> str:
    """What a configuration file holds; it may be a pipe, but nothing without an end (/dev/zero)."""
    with open(path, "rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        size = f"more than {LARGEST >> 20} MiB"
        raise UserError(f"{path}: {size}, no configuration file{asked}: check the name")
    text = data.decode("utf-8")
    if deep := DEEP_NAME.search(text):  # tomllib takes memory by the square of the parts
        line = text.count("\n", 0, deep.start()) + 1
        raise UserError(f"{path}:{line}: a name of more than 32 parts: expected section.key")
    return text


def _line_of(text: str, section: str, key: str | None) -> int:
    """1-based line at which a key stands in TOML text (for messages; 1 when not found)."""
    current = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([\w.-]+)\]", line)
        if header:
            current = header.group(1)
        name = re.match(r"\s*([\w.-]+)\s*=", line)
        if name and (current, name.group(1)) in {(section, key), (None, section)}:
            return number
        if name and current is None and name.group(1) == f"{section}.{key}":
            return number
    return 1


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` of a command line. Raises UserError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)?", key):
        raise UserError(f"--set {text}: expected section.key=value, for example optim.lr=3e-4")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except RecursionError:
        raise UserError(f"--set {key}: nested too deeply: expected a value or a list") from None
    except tomllib.TOMLDecodeError:
        return key, value.strip()  # a bare word: a string without its quotes
