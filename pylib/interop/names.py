"""Names of weights: from one naming to another by prefixes, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from pylib.corpus.errors import UserError

State = dict[str, Tensor]

LISTED = 8  # names shown of those that do not fit
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def rename(name: str, table: Mapping[str, str]) -> str | None:
    """`name` with its longest known prefix exchanged, or None if no prefix is known.

    In the table `#` stands for the first number of a name, that of a layer.
    """
    number = _NUMBER.search(name)
    generic = _NUMBER.sub("#", name, count=1) if number else name
    for candidate in (generic, name):
        for prefix in sorted(table, key=len, reverse=True):
            if candidate.startswith(prefix):
                renamed = table[prefix] + candidate[len(prefix) :]
                return renamed.replace("#", number.group(), 1) if number else renamed
    return None


def translate(state: Mapping[str, Tensor], table: Mapping[str, str], whose: str) -> State:
    """The state under the names of `table`'s right side; `whose` has no name in errors.

    Raises:
        UserError: names without one, all of them in one message.
    """
    named = {name: rename(name, table) for name in state}
    if unknown := [name for name, other in named.items() if other is None]:
        raise UserError(f"{some(unknown)}: {whose} has no name for it: convert another model")
    return {str(named[name]): value for name, value in state.items()}


def some(names: Iterable[str]) -> str:
    """The first names, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + more


def require_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights of other names or shapes than the configuration makes.

    Args:
        expected: by the configuration, under the names of the file; values are on the meta device.
        given: of the file.
        where: the file.

    Raises:
        UserError: listing what is missing, what is unexpected, what is of another shape.
    """
    lacks = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    shapes = [
        f"{name} {tuple(given[name].shape)} for {tuple(value.shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    kinds = {"lacks": lacks, "unexpected": extra, "of another shape": shapes}
    told = [f"{kind} {some(names)}" for kind, names in kinds.items() if names]
    if told:
        raise UserError(
            f"{where}: weights do not fit its configuration: {'; '.join(told)}: give the file of "
            "one whole model with its own configuration"
        )
