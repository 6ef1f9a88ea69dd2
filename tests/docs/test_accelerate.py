"""docs/jobs/accelerate-two-machines.sh: two machines are two addresses of this one."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.docs.conftest import JOBS, Site

SCRIPT = JOBS / "accelerate-two-machines.sh"


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _two_machines(
    site: Site, n_processes: int, **environment: object
) -> list[subprocess.CompletedProcess[str]]:
    """Run the script on both machines; the first one has the address 127.0.0.2."""
    address = "127.0.0.2"
    try:
        port = _free_port(address)
    except OSError:
        pytest.skip("this system has one loopback address")
    environment |= {"ADDRESS": address, "PORT": port, "PROCESSES": n_processes}
    started = [site.start([SCRIPT, machine], **environment) for machine in (0, 1)]
    outputs = [process.communicate() for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]


def test_it_is_a_script():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_it_asks_which_machine_it_is_on(site):
    assert "which machine this is" in site.run([SCRIPT]).stderr


def test_accelerate_gives_the_processes_of_both_machines_their_ranks(site):
    names = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"
    (site.root / "earzip.py").write_text(
        # At one go: two processes of a machine write to one pipe.
        f"import json, os\nline = json.dumps([os.environ[name] for name in {names}])\n"
        "os.write(1, f'{line}\\n'.encode())\n"
    )
    ended = _two_machines(site, 2, PYTHONPATH=site.root)
    assert [process.returncode for process in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    for machine, process in enumerate(ended):
        assert sorted(map(json.loads, process.stdout.splitlines())) == [
            [str(2 * machine + i), "4", str(i), "127.0.0.2"] for i in range(2)
        ]


def test_two_machines_archive_the_library_each_file_once(site):
    site.add_music(6)
    config = site.root / "config" / "earzip" / "config.toml"
    config.write_text(config.read_text() + 'json = true\ndevices = "cpu"\n')
    ended = _two_machines(site, 1)
    assert [process.returncode for process in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    records = [json.loads(line) for line in ended[0].stdout.splitlines()]
    assert ended[1].stdout == ""
    written = [Path(r["source"]).name for r in records if r.get("status") == "written"]
    assert sorted(written) == [f"{i}.flac" for i in range(6)]
    assert (records[-1]["type"], records[-1]["written"]) == ("summary", 6)
    assert site.archived() == [f"{i}.flac.earz" for i in range(6)]
