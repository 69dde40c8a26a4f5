"""Files of others, which are not trusted: weights, configurations, and nothing executed.

torch's restricted reader takes tensors and plain values only. fairseq's files also hold objects of
its classes (dictionaries of the labels, argparse's or omegaconf's configuration), which that reader
refuses. Every class they name is replaced by `Opaque`, an empty class of ours that keeps what the
file says of an object and does nothing with it: no code of another package is imported or called.
Classes of packages that have no business in such a file stay refused.
"""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from pylib.corpus.errors import UserError

# Packages whose objects a fairseq file may hold: its own and its configuration's, plain types named
# by omegaconf, and numpy's numbers in the state of its meters.
PACKAGES = ("fairseq", "argparse", "omegaconf", "typing", "numpy")
PLAIN = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("bool", "dict", "float", "int", "list", "long", "str", "tuple")
} | {"collections.defaultdict"}
DEPTH = 20  # of a configuration; deeper ones turn in circles
LEGACY_PICKLES = 5  # before the numbers of a file older than the zip format

SAVE_PLAIN = (
    "where it can be trusted and fairseq is installed, load it, keep the weights under 'model' and "
    "the configuration as a plain dict under 'cfg', torch.save those two, and convert that file"
)


class Opaque:
    """Stands for an object of a class that is not imported; does nothing."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __new__(cls, *_args: Any) -> Opaque:
        made = super().__new__(cls)
        made.args, made.state = (), None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_torch(path: Path) -> Any:
    """What a file of torch.save holds, on the CPU; objects of fairseq's files as `Opaque`.

    Raises:
        UserError: missing, cut off, or holding objects that are not read.
    """
    try:
        # PLAIN whole: torch looks them up by Python 3's names, whatever the file calls them.
        foreign = PLAIN.union(name for name in _classes(path) if _replaced(name))
        with torch.serialization.safe_globals([(Opaque, name) for name in foreign]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except Exception as error:  # a damaged pickle fails in every way there is
        if isinstance(error, OSError) and error.filename is not None:
            raise
        told = str(error)
        if "nsupported global" in told or "unsupported GLOBAL" in told:
            known = ("torch.", "collections.OrderedDict")
            others = [n for n in _classes(path) if not n.startswith(known) and not _replaced(n)]
            raise UserError(
                f"{path}: names {', '.join(others[:8]) or 'code'}, which is not read because it "
                f"could run: {SAVE_PLAIN}"
            ) from None
        first = told.strip().splitlines()[0] if told.strip() else type(error).__name__
        raise UserError(
            f"{path}: not a readable file of weights ({first}): fetch it again"
        ) from None


def _replaced(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES or name in PLAIN


def _classes(path: Path) -> list[str]:
    """Classes and functions that a file names, found by reading its opcodes, without running."""
    names: dict[str, None] = {}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith("/data.pkl"):
                    with archive.open(entry) as stream:
                        _add_classes(stream, names)
        return list(names)
    with open(path, "rb") as plain:
        for _ in range(LEGACY_PICKLES):
            _add_classes(plain, names)
    return list(names)


def _add_classes(stream: IO[bytes], names: dict[str, None]) -> None:
    for code, argument, _ in pickletools.genops(stream):
        if code.name == "GLOBAL":
            names[str(argument).replace(" ", ".")] = None


def plain(value: Any, depth: int = 0) -> Any:
    """A configuration as dicts, lists and plain values, whatever objects of a file it was held in.

    Raises:
        UserError: it is nested without end.
    """
    if depth > DEPTH:
        raise UserError(f"nested more than {DEPTH} deep: {SAVE_PLAIN}")
    if isinstance(value, Opaque):
        held = value.state
        if isinstance(held, Mapping):  # omegaconf's containers and nodes, argparse's Namespace
            key = next((key for key in ("_content", "_val") if key in held), None)
            return plain(held if key is None else held[key], depth + 1)
        return plain(value.args[0], depth + 1) if len(value.args) == 1 else None  # of an enum
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return value


def tensors(state: Any, where: str) -> dict[str, Tensor]:
    """The state as named float32 tensors. Raises UserError where something is no tensor."""
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{where}: holds no weights by name: give a state dict")
    wrong = [str(name) for name, value in state.items() if not torch.is_tensor(value)]
    if wrong:
        raise UserError(f"{where}: {', '.join(wrong[:8])}: no tensor: give a state dict")
    return {str(name): value.float() for name, value in state.items()}


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file. Raises UserError when it is missing or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing: it says what the weights are: fetch it too") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON ({error}): fetch it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: no JSON object: fetch it again")
    return found


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Weights of a safetensors file. Raises UserError: damaged, or the package is not there."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(
            f"{path}: the package safetensors is not installed: install it, or give "
            "pytorch_model.bin"
        ) from None
    try:
        return tensors(load_file(path), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except Exception as error:  # the package has an exception of its own for damaged files
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.filename):
            raise
        raise UserError(f"{path}: not readable ({error}): fetch it again") from None


def write_weights(folder: Path, state: Mapping[str, Tensor]) -> str:
    """Write weights as transformers reads them; returns the name of the file.

    `model.safetensors` if the package is there, else `pytorch_model.bin`.
    """
    whole = {name: value.detach().contiguous() for name, value in state.items()}
    try:
        from safetensors.torch import save_file
    except ImportError:
        name = "pytorch_model.bin"
        torch.save(whole, folder / name)
        return name
    name = "model.safetensors"
    save_file(whole, folder / name, metadata={"format": "pt"})
    return name
