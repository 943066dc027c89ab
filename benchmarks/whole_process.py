"""Measures commands side by side, as whole processes, in one go: what all benchmarks share.

A `Side` is a command that works on a folder or file. `compare` runs all sides in turn, so that all
suffer alike from what else the machine does. Beside each run on the data stands one on next to
nothing: its time is the start-up, its peak is what the processes take before they have work. The
tables show medians, and the medians of ratios pair by pair.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from pydantic import ByteSize, TypeAdapter

from benchmarks.process_tree import (
    PeakWatch,
    adopt_orphans,
    children,
    cpu_s,
    wait_for_orphans,
)
from tests.fixtures.ray_cluster import RayCluster, running_cluster

ROOT = Path(__file__).parents[1]
INGEST = Path(sys.executable).with_name("ingest")
MIB = 2**20

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Figures:
    """One run of one side. ``peak_bytes`` is that of its largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Side:
    """One of those that are compared.

    Attributes:
        name: its line in the table.
        command: makes its command, of the data and of a fresh folder for what it writes.
        data: what it works on.
        expect: its exit code on ``data``.
        cluster: the Ray cluster it uses: its CPU counts, and the memory of its workers.
        timed_inside: the last line that it prints is its seconds; else its whole life is timed.
        variables: more for its environment.
        after: puts things in order after a run, which is not measured.
    """

    name: str
    command: Callable[[Path, Path], Command]
    data: Path
    expect: int = 0
    cluster: RayCluster | None = None
    timed_inside: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[Path], None] = lambda folder: None


@dataclass
class Runs:
    """What was measured of one side."""

    work: list[Figures] = field(default_factory=list)
    idle: list[Figures] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """The median, start-up included."""
        return statistics.median(run.wall_s for run in self.work)

    @property
    def cpu_s(self) -> float:
        """The median of the CPU of all its processes, start-up included."""
        return statistics.median(run.cpu_s for run in self.work)

    @property
    def start_s(self) -> float:
        """The median of the runs on next to nothing."""
        return statistics.median(run.wall_s for run in self.idle)

    @property
    def peak_bytes(self) -> int:
        """The highest of any process in any run."""
        return max(run.peak_bytes for run in self.work)

    @property
    def over_start_bytes(self) -> int:
        """How much of the peak the data has made."""
        return self.peak_bytes - max(run.peak_bytes for run in self.idle)

    def working_s(self) -> list[float]:
        """The time of each run without its start-up."""
        return [w.wall_s - i.wall_s for w, i in zip(self.work, self.idle, strict=True)]


def compare(sides: Sequence[Side], runs: int, idle: Path) -> dict[str, Runs]:
    """Run all sides in turn, ``runs`` times, after one run of each on ``idle`` that warms up.

    Args:
        sides: who; one that times itself has no start-up to be told.
        runs: how often.
        idle: data that is next to nothing.

    Raises:
        SystemExit: a side did not end as it should.
    """
    adopt_orphans()
    os.sync()  # what was written for this must not be written back while it is measured
    measured = {side.name: Runs() for side in sides}
    for number in range(runs + 1):
        for side in sides:
            starts = []
            if not number or not side.timed_inside:
                starts.append(_run(replace(side, data=idle, expect=0)))
            if number:
                measured[side.name].idle += starts
                measured[side.name].work.append(_run(side))
    return measured


def _run(side: Side) -> Figures:
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as name:
        folder = Path(name)
        figures = _measured(side, side.command(side.data, folder))
        side.after(folder)
        return figures


def _measured(side: Side, command: Command) -> Figures:
    clusters = () if side.cluster is None else (side.cluster.pid,)
    known = set(children(os.getpid()))
    before_s = cpu_s(clusters)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        own = environment() | dict(side.variables)
        began = time.perf_counter()
        process = subprocess.Popen(command, env=own, stdout=output, stderr=errors, cwd=ROOT)
        with PeakWatch(known, clusters) as watch:
            code = process.wait()
            wall_s = time.perf_counter() - began
            wait_for_orphans(known)
        if code != side.expect:
            errors.seek(0)
            told = errors.read().decode(errors="replace")[-2000:]
            sys.exit(f"{side.name}: expected exit code {side.expect}, found {code}:\n{told}")
        if side.timed_inside:
            output.seek(0)
            wall_s = float(output.read().splitlines()[-1])
    return Figures(wall_s, cpu_s(clusters) - before_s, watch.peak_bytes)


def environment() -> dict[str, str]:
    """This one without settings of ours or of Ray's, and with a key that all servers here take."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TOGETHER_", "RAY_", "AWS_"))}
    return own | {"TOGETHER_API_KEY": "benchmark", "TOGETHER_DISABLE_TQDM": "1"}


def table(measured: Mapping[str, Runs], total_bytes: int) -> str:
    """All sides as a table; throughput is start-up included."""
    with_start = all(runs.idle for runs in measured.values())
    titles = ["", "wall", "throughput", "CPU", "peak of a process"]
    titles += ["start-up", "peak over its start"] if with_start else []
    lines = [titles, ["---"] * len(titles)]
    for name, runs in measured.items():
        cells = [
            name,
            f"{runs.wall_s:.2f} s",
            f"{total_bytes / runs.wall_s / 1e6:.0f} MB/s",
            f"{runs.cpu_s / total_bytes * 1e9:.2f} s/GB",
            f"{runs.peak_bytes / MIB:.0f} MiB",
        ]
        if with_start:
            cells += [f"{runs.start_s:.2f} s", f"{runs.over_start_bytes / MIB:.0f} MiB"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def pairwise(ours: Runs, theirs: Runs) -> list[float]:
    """How many times as fast ours is, run by run."""
    return [b.wall_s / a.wall_s for a, b in zip(ours.work, theirs.work, strict=True)]


def ratio(ours: Runs, theirs: Runs) -> str:
    """How many times as fast ours is, and the same with neither side's start-up."""
    told = f"{statistics.median(pairwise(ours, theirs)):.2f} times the speed"
    if ours.idle:
        pairs = zip(ours.working_s(), theirs.working_s(), strict=True)
        # Next to nothing can take as long as little: then there is no ratio to tell.
        aside = [b / a for a, b in pairs if a > 0 and b > 0]
        told += f", start-up aside {statistics.median(aside):.2f} times" if aside else ""
    return told


def ratios(measured: Mapping[str, Runs]) -> str:
    """A line for each other side: ours, which is the first, beside it."""
    (name, ours), *others = measured.items()
    lines = [f"- {name}: {ratio(ours, theirs)} of {other}" for other, theirs in others]
    return "\n".join(lines)


def machine() -> str:
    """What this ran on, in a line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, Ray {version('ray')}; files in the page cache"
    )


def parse_size(text: str) -> int:
    """Bytes of ``1GiB`` or ``250MB``."""
    return int(TypeAdapter(ByteSize).validate_python(text))


def arguments_of(description: str) -> argparse.ArgumentParser:
    """A parser with what all benchmarks of whole processes take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--runs", type=int, default=3, help="of each side")
    return parser


@contextmanager
def clusters(engine: str, cpus: Sequence[int]) -> Iterator[list[RayCluster | None]]:
    """A running Ray cluster for each count of CPUs; with the local engine, none for each."""
    with ExitStack() as running:
        yield [
            running.enter_context(running_cluster(cpus=count)) if engine == "ray" else None
            for count in cpus
        ]


def engine_flags(cluster: RayCluster | None, workers: int) -> list[str]:
    """Flags of ours that have it work with that many workers."""
    if cluster is None:
        return ["--engine", "local", "--workers", str(workers)]
    return ["--engine", "ray", "--address", cluster.address]
