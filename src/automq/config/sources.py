"""What the command line reads before there is a configuration: a file, and the memory limit."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from automq.config.key import ConfigError
from automq.config.node_config import NodeConfig


def load_node_config(
    *, file: Path | None, environment: Mapping[str, str], overrides: Iterable[str]
) -> NodeConfig:
    """This machine's configuration of a node: the whole of `automq server --config FILE --set ...`.

    Raises ConfigError (of which ConfigErrors has a line for everything that is wrong).
    """
    return NodeConfig.load(
        file=read_properties_file(file) if file else "",
        file_name=str(file),
        environment=environment,
        overrides=overrides,
        host_name=machine_name(),
        memory_bytes=memory_limit_bytes(),
        disk_bytes_of=disk_bytes,
    )


def read_properties_file(path: Path) -> str:
    """The text of a configuration file: UTF-8, or else Latin-1 as Java reads it. Raises
    ConfigError.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"{path}: {why}; expected a readable properties file") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def machine_name() -> str:
    """The machine's own name. No look-up, which could stall a start."""
    return socket.gethostname()


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """The memory this process may use: the machine's, or less if its cgroup (v2 or v1) says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *cgroup_limits(root)])


def disk_bytes(uri: str) -> int | None:
    """How large the disk is that a directory by URI is on, or will be; None where nobody can tell,
    and for what is no directory.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "file" or not rest:
        return None
    path = Path(unquote(rest)).absolute()
    try:
        disk = os.statvfs(next(it for it in (path, *path.parents) if it.exists()))
    except OSError:
        return None
    return disk.f_frsize * disk.f_blocks


def cgroup_limits(root: Path) -> Iterator[int]:
    """The limits of this process's cgroup and of all above it."""
    for files in (v2_files(root), v1_files(root)):
        for file in files:
            text = read_or_empty(file).strip()
            if text.isdigit() and int(text) > 0:
                yield int(text)


def v2_files(root: Path) -> Iterator[Path]:
    mount = root / "sys/fs/cgroup"
    for line in read_or_empty(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            own = mount / line[3:].lstrip("/")
            inside = [folder for folder in (own, *own.parents) if folder.is_relative_to(mount)]
            yield from (folder / "memory.max" for folder in inside)
            return
    yield mount / "memory.max"


def v1_files(root: Path) -> Iterator[Path]:
    yield root / "sys/fs/cgroup/memory/memory.limit_in_bytes"


def read_or_empty(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
