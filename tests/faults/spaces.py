"""Machines that lack something, made for one process: what stands before its command, and whether that works here."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

#: A process with mounts of its own: `sh` makes them, then becomes the program.
_MOUNTING = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def mounting(*mounts: str) -> list[str]:
    """What stands before a program that sees these mounts, and nobody else does.

    Args:
        mounts: arguments of `mount`.
    """
    script = " && ".join(f"mount {each}" for each in mounts) + ' && exec "$@"'
    needs([*_MOUNTING, script, "sh", "true"], "mounts of its own")
    return [*_MOUNTING, script, "sh"]


def nobody() -> list[str]:
    """What stands before a program that runs as a user without a name or a home, as in a container."""
    command = ["unshare", "--user", "--map-user", "54321"]
    needs([*command, "true"], "a user of its own")
    return command


def without_network() -> list[str]:
    """What stands before a program that reaches this machine alone, and no other."""
    script = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, "sh"]
    needs([*command, "true"], "a network of its own")
    return command


@contextmanager
def memory_of(megabytes: int) -> Iterator[list[str]]:
    """What stands before a program that gets so much memory, with what it starts."""
    group = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").exists() else "/sys/fs/cgroup", uuid4().hex)
    bound = "memory.limit_in_bytes" if "memory" in group.parts else "memory.max"
    try:
        group.mkdir()
        (group / bound).write_text(str(megabytes * 2**20))
    except OSError as error:
        pytest.skip(f"no memory can be set apart here: {error.strerror}")
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()


def needs(command: list[str], what: str) -> None:
    """Skip, saying so, where a machine does not let a process have something."""
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{what}: there is no {command[0]} here")
    if tried.returncode:
        pytest.skip(f"{what}: not allowed here: {tried.stderr.strip()}")
