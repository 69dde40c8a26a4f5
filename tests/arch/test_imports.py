"""Imports go down only (design: bin -> scoring, decoding, training, interop -> systems -> ...)."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys

import pytest
from sources import ROOT, tracked, tree

LEVELS = {
    "corpus": 0,
    "features": 1,
    "units": 1,
    "nn": 1,
    "systems": 2,
    "training": 3,
    "decoding": 3,
    "conversion": 3,
    "scoring": 3,
    "interop": 3,
    "bin": 4,
}
# Within a level, with the reason.
SIDEWAYS = {
    ("training", "decoding"): "validation of CTC reads the letters greedily to choose a checkpoint",
    ("conversion", "training"): "a model is loaded from a checkpoint by its one reader",
    ("units", "nn"): "the probe's optimiser is torch's without its compiler, as a training's is",
    ("units", "features"): "clusters are made of features read through their one reader",
}
HEAVY = {"torch", "torchaudio", "transformers", "sklearn", "matplotlib", "scipy"}
WORLD = {
    "os", "pathlib", "time", "datetime", "tempfile", "shutil", "glob", "subprocess", "socket", "io",
}  # fmt: skip

MODULES = tracked("pylib/*.py")


def layer(name: str) -> str:
    return name.split("/")[1].removesuffix(".py")


def imports(name: str) -> list[tuple[int, str]]:
    """(line, full name) of everything a module imports, at whatever depth."""
    found = []
    package = name.removesuffix(".py").removesuffix("/__init__").split("/")
    package = package if name.endswith("__init__.py") else package[:-1]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
    return found


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 50
    assert {layer(m) for m in MODULES} - {"__init__"} <= {*LEVELS, "jobs"}


def test_imports_go_down_only() -> None:
    faults, seen = [], 0
    for module in MODULES:
        here = layer(module)
        if here == "__init__":
            continue
        for line, name in imports(module):
            parts = name.split(".")
            if parts[0] != "pylib" or len(parts) < 2 or parts[1] == here:
                continue
            seen += 1
            there = parts[1]
            if here == "jobs":
                allowed = False
            elif there == "jobs":
                allowed = here == "bin"
            else:
                allowed = LEVELS[there] < LEVELS[here] or (here, there) in SIDEWAYS
            if not allowed:
                faults.append(f"{module}:{line}: {here} imports {name}")
    assert seen > 50
    assert not faults, "\n".join(faults)


def test_no_torch_below_the_models() -> None:
    faults = [
        f"{module}:{line}: imports {name}"
        for module in MODULES
        if layer(module) in ("corpus", "scoring", "jobs")
        and not module.startswith("pylib/corpus/mini/")
        for line, name in imports(module)
        if name.split(".")[0] in ("torch", "torchaudio", "transformers")
    ]
    assert not faults, "\n".join(faults)


def test_jobs_use_the_standard_library_only() -> None:
    faults = [
        f"{module}:{line}: imports {name}"
        for module in MODULES
        if layer(module) == "jobs"
        for line, name in imports(module)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("pylib.jobs")
    ]
    assert not faults, "\n".join(faults)


def test_models_touch_no_file_no_environment_no_clock() -> None:
    faults = []
    for module in MODULES:
        if layer(module) not in ("nn", "systems"):
            continue
        for line, name in imports(module):
            if name.split(".")[0] in WORLD:
                faults.append(f"{module}:{line}: imports {name}")
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "open", "torch.save", "torch.load", "print",
            ):  # fmt: skip
                faults.append(f"{module}:{node.lineno}: calls {ast.unparse(node.func)}")
    assert not faults, "\n".join(faults)


def test_transformers_is_for_tests() -> None:
    faults = [
        f"{module}:{line}: imports {name}"
        for module in MODULES
        for line, name in imports(module)
        if name.split(".")[0] in ("transformers", "fairseq", "kaldi_native_fbank")
    ]
    assert not faults, "\n".join(faults)


def test_verbs_import_nothing_heavy() -> None:
    """`python -m pylib.bin.<verb> --help` answers at once: heavy imports are inside functions."""
    verbs = [m for m in MODULES if layer(m) == "bin" and not m.endswith("__init__.py")]
    assert len(verbs) > 10
    names = [verb.removesuffix(".py").replace("/", ".") for verb in verbs]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {sorted(HEAVY)!r}\n"
        "    found = [h for h in heavy if h in sys.modules]\n"
        "    if found:\n"
        "        sys.exit(f'{name} imports {found}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_verb_has_a_main_and_uses_the_entry() -> None:
    faults = []
    for module in MODULES:
        if layer(module) != "bin" or 'if __name__ == "__main__"' not in (ROOT / module).read_text(
            encoding="utf-8"
        ):
            continue
        functions = [n.name for n in tree(module).body if isinstance(n, ast.FunctionDef)]
        if "main" not in functions:
            faults.append(f"{module}: no function main(argv)")
        if not any(name == "pylib.bin.entry.run" for _, name in imports(module)):
            faults.append(f"{module}: does not import run from pylib.bin.entry")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", ["pylib.jobs.ledger", "pylib.jobs.cmd", "pylib.jobs.task"])
def test_jobs_start_fast(module: str) -> None:
    """Processor time, best of five, against 100 ms: every stage and every job pays this."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-S", "-c", f"import {module}"], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < 0.1
