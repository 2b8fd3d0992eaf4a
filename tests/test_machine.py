import os
import subprocess
import sys

import pytest

from boggers.machine import SPINS, wait_briefly

FAULTS = """
import ctypes, resource
from boggers.machine import keep_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
keep_memory()

def use(size):
    piece = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
    ctypes.memset(piece, 1, size)
    libc.free(piece)

use(64 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use(64 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 5 * 64 * 2**20 // 4096


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS}),
        ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
    ids=["by default", "turns given", "policy given"],
)
def test_how_threads_wait_is_the_users_to_say(
    before: dict[str, str], after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    found = {n: v for n in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if (v := os.environ.get(n))}
    assert found == after
    for name in found:
        monkeypatch.delenv(name)


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="only glibc is asked"
)
@pytest.mark.parametrize("left", [True, False], ids=["kept", "as the user has it"])
def test_freed_memory_is_used_again(*, left: bool) -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_")}
    if not left:
        environment["MALLOC_ARENA_MAX"] = "8"
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, env=environment, check=True
    )
    faults = int(done.stdout)
    assert (faults < PAGES / 100) if left else (faults > PAGES / 2)
