"""The ssh back end before a real sshd on this machine, with keys and configuration of its own.

Runs where sshd is installed (Debian: openssh-server); it installs nothing and is skipped elsewhere,
by the name of what is missing. Nothing of the user's or the machine's own ssh is read or written.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylib.jobs import logfile, processes
from tests.jobs.place import Place

ROOT = Path(__file__).resolve().parents[2]
RUN = str(ROOT / "local" / "run.sh")
SBIN = f"{os.environ['PATH']}:/usr/sbin"
MISSING = [name for name in ("sshd", "ssh", "ssh-keygen") if shutil.which(name, path=SBIN) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ssh,
    pytest.mark.skipif(
        bool(MISSING), reason=f"no {' '.join(MISSING)}: apt-get install openssh-server"
    ),
]

# More than a few connections at once are turned away at random, as sshd does from ten on.
SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 3:50:6
"""
CLIENT = """\
Host one two nowhere
  HostName 127.0.0.1
  User {user}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile none
Host one two
  Port {port}
Host nowhere
  Port {closed}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the client's configuration of machines `one`, `two` and `nowhere`."""
    folder = tmp_path_factory.mktemp("ssh")
    names = {
        "folder": folder, "user": pwd.getpwuid(os.getuid()).pw_name,
        "port": free_port(), "closed": free_port(),
    }  # fmt: skip
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    host = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{names['port']} {host[0]} {host[1]}\n")
    (folder / "server").write_text(SERVER.format(**names))
    (folder / "client").write_text(CLIENT.format(**names))
    separated = Path("/run/sshd")  # sshd's own, for what it does as nobody
    made = os.geteuid() == 0 and not separated.exists()
    if made:
        separated.mkdir(mode=0o755)
    sshd = shutil.which("sshd", path=SBIN)
    words = [str(sshd), "-D", "-f", str(folder / "server"), "-E", str(folder / "server.log")]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    ask = ["ssh", "-F", str(folder / "client"), "-o", "BatchMode=yes", "one", "true"]
    deadline = time.monotonic() + 20
    while (done := subprocess.run(ask, capture_output=True, text=True)).returncode:
        assert server.poll() is None and time.monotonic() < deadline, done.stderr
        time.sleep(0.2)
    yield folder
    server.terminate()
    server.wait(timeout=10)
    if made:
        separated.rmdir()


class Site(Place):
    """A directory to run in, with machines that ssh reaches by a configuration of its own."""

    def __init__(self, folder: Path, keys: Path) -> None:
        environment = {
            **os.environ,
            "CMD_BACKEND": "ssh",
            "TRIVIUM_PYTHON": sys.executable,
            "TRIVIUM_SSH": f"ssh -F {keys / 'client'}",
            "TRIVIUM_HOSTS": str(folder / "machines"),
        }
        environment.pop("SSH_CONNECTION", None)
        super().__init__(folder, environment)
        self.machines("one", "two 2")

    def machines(self, *lines: str) -> None:
        (self.folder / "machines").write_text("".join(f"{line}\n" for line in lines))

    def sleeping(self, count: int) -> tuple[subprocess.Popen[str], list[int]]:
        """An array whose jobs all run, and the process ids of these."""
        job = 'echo "$BASHPID" >own.new.JOB; mv own.new.JOB own.JOB; exec sleep 200'
        process = self.start(RUN, f"JOB=1:{count}", "log/s.JOB.log", "bash", "-c", job)
        names = [self.folder / f"own.{number}" for number in range(1, count + 1)]
        deadline = time.monotonic() + 30
        while not all(name.exists() for name in names):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        return process, [int(name.read_text()) for name in names]

    def ends(self, log: str, count: int) -> list[int]:
        """Codes of the footers of the logs, each of which has one."""
        logs = [self.folder / "log" / log.replace("JOB", str(job)) for job in range(1, count + 1)]
        found = [logfile.end(str(path)) for path in logs]
        assert all(path.read_text().count("\n# Ended (code") == 1 for path in logs)
        return [end.code if end else -1 for end in found]


@pytest.fixture
def site(tmp_path: Path, keys: Path) -> Site:
    return Site(tmp_path, keys)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_an_array_runs_elsewhere_and_what_failed_is_named(site: Site) -> None:
    job = 'echo "from $SSH_CONNECTION"; exit $((JOB == 4 ? 3 : 0))'
    code, told = site.run(RUN, "JOB=1:5", "log/x.JOB.log", "bash", "-c", job)
    assert code == 1 and "1 / 5 failed" in told and "JOB 4 (code 3)" in told
    assert site.ends("x.JOB.log", 5) == [0, 0, 0, 3, 0]
    assert "\nfrom 127.0.0.1 " in (site.folder / "log" / "x.1.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_waiter_ends_everything(site: Site, number: signal.Signals) -> None:
    process, pids = site.sleeping(3)
    assert alive(pids) == pids
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not alive(pids) and site.ends("s.JOB.log", 3) == [130] * 3


def test_a_broken_connection_ends_its_job(site: Site) -> None:
    site.machines("one")
    process, pids = site.sleeping(1)
    ssh = processes.tree(process.pid)[1]
    assert Path(f"/proc/{ssh}/comm").read_text(encoding="utf-8") == "ssh\n"
    os.kill(ssh, signal.SIGKILL)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "one is silent about job 1" in told
    assert not alive(pids) and site.ends("s.JOB.log", 1) == [130]


def test_a_machine_out_of_reach_is_named(site: Site) -> None:
    site.machines("nowhere")
    code, told = site.run(RUN, "JOB=1:2", "log/x.JOB.log", "true")
    assert code == 1 and "127.0.0.1" in told and "Connection refused" in told
    assert "nowhere was not reached for" in told and "JOB 1 (code 255), 2 (code 255)" in told
    site.machines("nowhere", "one")
    code, told = site.run(RUN, "JOB=1:3", "log/x.JOB.log", "sleep", "3")
    assert code == 0 and "its jobs go to the others" in told
    assert site.ends("x.JOB.log", 3) == [0, 0, 0]


def test_connections_that_are_turned_away_for_their_number_come_again(site: Site) -> None:
    site.machines("one 8")
    code, told = site.run(RUN, "JOB=1:8", "log/x.JOB.log", "sleep", "1")
    assert code == 0, told


def test_the_check_of_a_cluster_passes(site: Site) -> None:
    code, told = site.run(str(ROOT / "local" / "check_cluster.sh"))
    assert code == 0 and "job 2 ran on " in told and "recipes can use --cmd-backend ssh" in told
