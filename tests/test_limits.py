"""Sizes that cannot fit into memory are refused before anything is drawn, built or written."""

import re

import pytest
from command_line import run

from fastweights import memory

TINY = "--hidden-size 8 --epochs 1 --train-size 256 --valid-size 64 --batch-size 64".split()


@pytest.mark.parametrize(
    "command, says",
    [
        ("train GRU --test-size 1000000000000", "--test-size 1000000000000: wanted at most 100,000,000"),
        ("train GRU --test-size 99999999", "--train-size, --valid-size, --test-size and --workers: got a need of"),
        ("train GRU IRNN --workers 2 --train-size 9999999", "and --workers: got a need of [0-9.]+ GiB of memory at least"),
        ("train GRU --task copying --delay 9999 --train-size 999999", "--train-size, .* got a need of"),
        ("train GRU --fresh --batch-size 99999 --train-size 99999 --hidden-size 999", "--batch-size and --hidden-size"),
        ("train GRU --head-sizes 1000000 1000000", "--hidden-size, --embedding-sizes and --head-sizes: got a need of"),
        ("train GRU --embedding-sizes 1000000000000000000000", "and --head-sizes: got a need of [0-9,.]+ TiB"),
        ("train RNN-LN-FW --hidden-size 99999", "--hidden-size, --embedding-sizes and --head-sizes: got a need of"),
        ("data adding --train 9999999 --length 9999 --output data", "--train and --valid: got a need of"),
        ("bench --hidden 99999", "--batch, --steps and --hidden: got a need of"),
        ("bench --batch 99999 --steps 99999", "--batch, --steps and --hidden: got a need of"),
        ("bench --threads 99999999", "--threads 99999999: wanted at most 1024"),
        ("bench --rounds 99999999999", "--rounds 99999999999: wanted at most 100000"),
        ("bench --seed 99999999999999999999999999", "--seed 99999999999999999999999999: wanted at most"),
        ("reproduce goku2016 --seeds 99999999999999", "--seeds 99999999999999: wanted at most 10,000"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused(command, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "available", lambda: 2.0**30)
    code, out, err = run(capsys, *command.split())
    assert code == 2 and out == "" and re.search(says, err) and err.count("\n") == 1, err
    assert not any(tmp_path.iterdir())


def test_sequences_of_a_diagnosis_are_refused(tmp_path, monkeypatch, capsys):
    assert run(capsys, "train", "RNN-LN-FW", *TINY, "--run", tmp_path / "run")[0] == 0
    monkeypatch.setattr(memory, "available", lambda: 2.0**20)
    for given, says in (
        (["--sequences", 10**7], "--sequences: got a need of .* no more than the 1.0 MiB that are free"),
        (["--sequences", 0], "--sequences: got 0, wanted an integer >= 1"),
        (["--seed", 10**30], "--seed: got 1000000000000000000000000000000, wanted an integer from 0"),
    ):
        code, out, err = run(capsys, "diagnose", "RNN-LN-FW", "--run", tmp_path / "run", *given)
        assert code == 2 and out == "" and re.search(says, err), err


MEMINFO = "MemTotal: 900 kB\nMemAvailable: 300 kB\nSwapFree: 100 kB\nHugePages_Free: 0\n"
CACHE = "anon 7\ninactive_file 50000\nactive_file 30000\n"  # pages of files, which the system gives back
GROUPS = {  # files below the root, and bytes that are free
    "no group": ({}, 400 * 1024),
    "no limit": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 400 * 1024),
    "second": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "300000\n",
                "sys/fs/cgroup/memory.current": "100000\n"}, 200_000),
    "second, full of files": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "300000\n",
                               "sys/fs/cgroup/memory.current": "299000\n", "sys/fs/cgroup/memory.stat": CACHE}, 81_000),
    "second, of a job": ({"proc/self/cgroup": "0::/slurm/job_1\n", "sys/fs/cgroup/slurm/memory.max": "200000\n",
                          "sys/fs/cgroup/slurm/memory.current": "50000\n",
                          "sys/fs/cgroup/slurm/job_1/memory.max": "max\n"}, 150_000),
    "first": ({"proc/self/cgroup": "9:cpu:/\n4:memory:/docker/x\n",
               "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
               "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
               "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "300000\n",
               "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "290000\n",
               "sys/fs/cgroup/memory/docker/x/memory.stat": "total_inactive_file 40000\n"}, 50_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_memory_is_what_the_system_and_the_container_leave(kind, tmp_path):
    files, free = GROUPS[kind]
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory.available(tmp_path) == free
