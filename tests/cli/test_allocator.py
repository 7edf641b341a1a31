"""Freed memory stays with the process where the commands ask for it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from holomorph.cli.allocator import keep_memory
if {kept}:
    keep_memory()
held = bytearray(2**27)
held[::4096] = bytes(len(held[::4096]))
del held
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


def resident(kept, **more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | more
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(kept=kept)], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_kept():
    returned = resident(kept=False)
    assert resident(kept=True) > returned + 2**26
    assert resident(kept=True, MALLOC_TRIM_THRESHOLD_="131072") < returned + 2**26  # the user's own setting wins
