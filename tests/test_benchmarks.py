"""What the benchmarks measure of a command includes what it starts, and leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The command ends at once; what it started works on, and is nobody's child then.
LEAVES_WORK_BEHIND = """
import subprocess, sys
work = "import time; held = bytearray(150_000_000)\\nwhile time.process_time() < 0.5: pass"
subprocess.Popen([sys.executable, "-c", work])
"""

# In a process of its own: it becomes the parent of orphans, which no test may be.
MEASURES = """
import json, sys
from pathlib import Path
from benchmarks.whole_process import Side, compare
side = Side("side", lambda data, folder: [sys.executable, "-c", sys.argv[1]], Path("data"))
[run] = compare([side], 1, Path("idle"))["side"].work
print(json.dumps([run.cpu_s, run.peak_bytes]))
"""


def test_a_process_that_outlives_the_command_counts_with_its_cpu_and_memory() -> None:
    command = [sys.executable, "-c", MEASURES, LEAVES_WORK_BEHIND]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    cpu_s, peak_bytes = json.loads(done.stdout)
    assert cpu_s >= 0.5
    assert peak_bytes >= 150_000_000
