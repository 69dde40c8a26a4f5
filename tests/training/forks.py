"""Modules run as `python -m` runs them, in forks of a process that has imported what they import.

Importing torch takes a processor 3 s, and sharding's part of it (FSDP2, which brings the compiler
along) another 4, in every process of every run. A fork finds it all there. Nothing else is
different: environment, arguments and exit codes are those of torchrun's processes, and as under
torchrun the others end when one fails. torchrun itself is in tests/jobs/test_torchrun.py and, with
a training, in test_sharded_runs.py.

    python -m tests.training.forks MODULE...    imports, then does what its input asks for
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
SHARDED = ("torch._dynamo", "torch.distributed.fsdp")


class Forks:
    """A process that imports once and forks for each process of a run, one run at a time."""

    def __init__(self, folder: Path, *imports: str) -> None:
        self.folder = folder  # for what the runs say
        self.runs = 0
        self.pids: list[int] = []
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.training.forks", *imports], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def start(self, processes: int, module: str, *arguments: object) -> None:
        """Start `python -m module arguments` as the processes of one run; `pids` are theirs."""
        assert self.server.stdin is not None
        self.runs += 1
        request = {"module": module, "arguments": [str(word) for word in arguments],
                   "processes": processes, "said": str(self._said())}  # fmt: skip
        print(json.dumps(request), file=self.server.stdin, flush=True)
        self.pids = self._answer()

    def wait(self) -> tuple[list[int], str]:
        """Exit codes by rank (minus the signal that ended one), and what was said."""
        return self._answer(), self._said().read_text(encoding="utf-8")

    def run(self, processes: int, module: str, *arguments: object) -> str:
        """Start a run and wait for it; what it said. It must succeed."""
        self.start(processes, module, *arguments)
        codes, said = self.wait()
        assert codes == [0] * processes, said[-5000:]
        return said

    def _said(self) -> Path:
        return self.folder / f"said.{self.runs}"

    def _answer(self) -> Any:
        assert self.server.stdout is not None
        return json.loads(self.server.stdout.readline())

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        assert self.server.wait(timeout=60) == 0


def _serve(requests: Any) -> None:
    for line in requests:
        request = json.loads(line)
        world = request["processes"]
        # Bound until the run is over, and so nobody else's; the first process may listen at it.
        with socket.socket() as port:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(("", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port.getsockname()[1]),
                     "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}  # fmt: skip
            pids = []
            for rank in range(world):
                pids.append(os.fork())
                if not pids[-1]:
                    own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                    _become(request, place | own if world > 1 else {})
            print(json.dumps(pids), flush=True)
            print(json.dumps(_codes(pids)), flush=True)


def _codes(pids: list[int]) -> list[int]:
    """Wait for all; where one fails, the others would wait for it for ever."""
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        pid, status = os.wait()
        codes[pid] = os.waitstatus_to_exitcode(status)
        if codes[pid]:
            for other in set(pids) - set(codes):
                os.kill(other, signal.SIGTERM)
    return [codes[pid] for pid in pids]


def _become(request: dict[str, Any], environment: dict[str, str]) -> NoReturn:
    """Be a process of the run to its end."""
    code: Any = 1
    try:
        said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (said, 1), (said, 2)):
            os.dup2(source, target)
        os.environ.update(environment)
        sys.argv[1:] = request["arguments"]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # memory that a collection does not touch stays shared with the forks
    _serve(sys.stdin)
