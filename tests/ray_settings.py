"""What clusters of Ray that tests start have in common."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import MODELS

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Kept while the process runs."""


@cache
def token() -> Path:
    """Return the file of what members of a cluster know each other by; Ray would put one into the home.

    It is one for all tests of a process: Ray remembers the first that it has read.
    """
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="ray-token"))
    path = Path(_FOLDERS[-1].name, "token")
    path.write_text(secrets.token_hex(32))
    return path


def set_up(patch: pytest.MonkeyPatch) -> None:
    """Set the environment of a cluster, and of the actors in it."""
    patch.setenv("EARZIP_MODELS", str(MODELS))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_AUTH_TOKEN_PATH", str(token()))


_CLUSTER = """
import sys
from ray.cluster_utils import Cluster

memory = {"object_store_memory": 80 << 20}
head = {"num_cpus": 0, "include_dashboard": False, **memory}
cluster = Cluster(initialize_head=True, head_node_args=head)
print("ADDRESS", cluster.address, flush=True)
nodes = []
for line in sys.stdin:
    if line == "add\\n":
        nodes.append(cluster.add_node(num_cpus=1, wait=False, **memory))
    else:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
cluster.shutdown()
"""
"""A process of its own: Ray remembers the token of the first cluster that a process knows."""


class Cluster:
    """A cluster of this machine, whose first node does no work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def add_node(self) -> None:
        """Start a node of one CPU."""
        self._say("add")

    def kill_node(self) -> None:
        """Kill the node that came last."""
        self._say("kill")

    def _say(self, word: str) -> None:
        assert self._process.stdin
        print(word, file=self._process.stdin, flush=True)


@contextmanager
def ray_cluster(patch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Give a cluster without a node that works, which the environment names."""
    set_up(patch)
    # A short name: the paths of sockets have an end, at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            while not (line := process.stdout.readline()).startswith("ADDRESS "):
                assert line, "no cluster"
            patch.setenv("RAY_ADDRESS", line.split()[1])
            yield Cluster(process)
        finally:
            process.stdin.close()
            process.wait(timeout=60)
            process.stdout.close()
