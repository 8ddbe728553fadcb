"""A real PostgreSQL for the tests: Debian's, where it is installed.

It refuses to run as root, so then it runs as `postgres` or `nobody`. Its data lie in a directory of
their own below /tmp, with commits as safe as the default; it may be killed and started repeatedly.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.server import free_port

USER = "automq"
STANDBY = "pg_receivewal"
REPLICA = "replica"
START_TIMEOUT_S = 30.0
POLL_S = 0.02
PASSWORD = "not a secret"


def programs() -> Path | None:
    """Where the newest installed version's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def need_postgres() -> Path:
    """Its programs, or the end of the test."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (/usr/lib/postgresql)")
    return found


class Postgres:
    """One server with its data in `directory`. Everyone on this machine may come in."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def uri(self, *parameters: str, user: str = USER, database: str = "postgres") -> str:
        query = f"?{'&'.join(parameters)}" if parameters else ""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{query}"

    def init(self) -> None:
        """Make an empty database cluster."""
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", USER, "--no-sync")

    def start(self, *settings: str) -> "Postgres":
        """Start it, with settings like `fsync=off`, and wait until it takes connections."""
        command = [
            *(str(self._programs / "postgres"), "-D", str(self.data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"),
            *("-c", f"unix_socket_directories={self.directory}"),
            *(part for setting in settings for part in ("-c", setting)),
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_somebody())
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline_s, self.log
            time.sleep(POLL_S)
        return self

    def kill(self) -> None:
        """End all of its processes as a power cut does, but for what the disk forgets."""
        if self._process is None:
            return
        # Killing the first alone would let the others finish what they do.
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [self._process.pid, *map(int, children.read_text().split())]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        self._process = None
        # The others are nobody's children now. While one of them is dying their shared memory is
        # in use, and a new server refuses to start.
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while any(_is_running(pid) for pid in pids):
            assert time.monotonic() < deadline_s, pids
            time.sleep(POLL_S)

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql prints for it, without decoration."""
        return self.run(
            *("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database),
            *("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text),
        ).strip()

    @contextmanager
    def changed(self, **settings: str) -> Iterator[None]:
        """Settings that a reload brings into force, for the time of a `with` block."""
        before = {name: self.sql(f"SHOW {name}") for name in settings}
        try:
            self._set(settings)
            yield
        finally:
            self._set(before)

    @contextmanager
    def standby(self) -> Iterator[None]:
        """A receiver of the log that counts as the synchronous standby STANDBY."""
        command = [
            *(str(self._programs / "pg_receivewal"), "-D", str(self.directory), "--synchronous"),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "--no-loop"),
        ]
        receiver = subprocess.Popen(command, stderr=subprocess.DEVNULL, **_as_somebody())
        try:
            yield
        finally:
            receiver.kill()
            receiver.wait()

    @contextmanager
    def replica(self) -> Iterator["Postgres"]:
        """A standby that follows; from then on commits wait for it."""
        with place() as directory:
            other = Postgres(directory, self._programs)
            primary = f"host=127.0.0.1 port={self.port} user={USER} application_name={REPLICA}"
            self.run("pg_basebackup", "-D", str(other.data), "-R", "-d", primary, "-c", "fast")
            try:
                other.start("synchronous_standby_names=" + STANDBY)
                self._set({"synchronous_standby_names": REPLICA})
                yield other
            finally:
                other.kill()

    def commits_that_wait(self) -> int:
        """How many sessions wait for the synchronous standby."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return int(self.sql(waiting))

    def until_a_commit_waits(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self.commits_that_wait():
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)

    def end_waits(self, how: str = "pg_terminate_backend") -> None:
        """End the waits for the standby: the commits stand, and perhaps only here."""
        self.sql(f"SELECT {how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self.commits_that_wait():
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)

    def use_certificate(self, file: Path) -> None:
        """A file with certificate and key, for `ssl=on`."""
        own = self.data / "server.pem"
        shutil.copy(file, own)
        own.chmod(0o600)
        user = _somebody()
        if user is not None:
            os.chown(own, user.pw_uid, user.pw_gid)
        names = ("ssl_cert_file", "ssl_key_file")
        lines = "".join(f"{name} = 'server.pem'\n" for name in names)
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(lines)

    def _set(self, settings: dict[str, str]) -> None:
        # Outside of any transaction, and no commit: so it works while commits wait.
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while any(self.sql(f"SHOW {name}") != value for name, value in settings.items()):
            assert time.monotonic() < deadline_s, settings
            time.sleep(POLL_S)

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={"PGPASSWORD": PASSWORD},
            **_as_somebody(),
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def _is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            self.sql("SELECT 1")
        except (OSError, AssertionError):
            return False
        return True


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A server with an empty database for the time of a `with` block."""
    found = need_postgres()
    with place() as directory:
        server = Postgres(directory, found)
        server.init()
        try:
            yield server.start(*settings)
        finally:
            server.kill()


@contextmanager
def place() -> Iterator[Path]:
    """A directory of the user that the server runs as. Not pytest's, which is root's alone."""
    directory = Path(tempfile.mkdtemp(prefix="automq-postgres-", dir="/tmp"))
    user = _somebody()
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _somebody() -> pwd.struct_passwd | None:
    """Whom the server runs as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    known = {it.pw_name: it for it in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _is_running(pid: int) -> bool:
    """Whether a process still holds anything: one that is only waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def _as_somebody() -> dict[str, Any]:
    user = _somebody()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
