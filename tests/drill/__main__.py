"""Random kills, for as long as you like.

    python -m tests.drill --rounds 50 --seed 1
    python -m tests.drill --engine ray --rounds 6

A round publishes a handful of files to a local Files API that is late and faulty at random, kills
the driver at a random moment, perhaps twice or three times, and then runs the same command to its
end. On Ray an actor, a worker node and the driver are killed. Prints a line a round; the first one
that does not hold ends the drill with 1, and with the command that plays it again. What is drawn
is the same then, but for who is fastest on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from ingest.serve import LocalFilesApi
from tests.drill.rounds import Round, kill_driver, play
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.fixtures.ray_cluster import NODE_API_KEY, running_cluster

Player: TypeAlias = Callable[[Round, LocalFilesApi], None]


def main() -> int:
    """Play rounds until one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    settings = parser.parse_args()
    print(f"seed {settings.seed}, engine {settings.engine}, {settings.rounds} rounds", flush=True)
    _clean_environment()
    started, met = time.monotonic(), Counter[str]()
    with _player(settings.engine) as play_one:
        for number in range(settings.first, settings.first + settings.rounds):
            drawn = Round(
                random.Random(f"{settings.seed} {number}"), Path(tempfile.mkdtemp(prefix="drill-"))
            )
            if not _holds(number, drawn, play_one):
                print(
                    f"Again: python -m tests.drill --engine {settings.engine} "
                    f"--seed {settings.seed} --first {number} --rounds 1"
                )
                return 1
            met.update(drawn.met)
    seen = ", ".join(f"{state} {count}" for state, count in sorted(met.items()))
    print(
        f"{settings.rounds} rounds held, seed {settings.seed}, {time.monotonic() - started:.0f} s; "
        f"strikes that met a file in each state: {seen}"
    )
    return 0


def _holds(number: int, drawn: Round, play_one: Player) -> bool:
    """Play a round, and say how it went; the folder of one that does not hold is kept."""
    started = time.monotonic()
    try:
        with LocalFilesApi(
            drawn.folder / "files-api",
            api_key=NODE_API_KEY,
            min_part_size_bytes=MIN_PART_SIZE_BYTES,
        ) as api:
            os.environ["TOGETHER_BASE_URL"] = api.base_url
            play_one(drawn, api)
            api.clear_faults()
    except Exception:
        print(f"round {number}: {'; '.join(drawn.struck)}; DOES NOT HOLD\n{traceback.format_exc()}")
        print(f"The manifest, the server's files and what each run wrote are in {drawn.folder}.")
        return False
    shutil.rmtree(drawn.folder)
    took = f"{drawn.runs} runs, {time.monotonic() - started:.1f} s"
    print(f"round {number}: {'; '.join(drawn.struck)}; holds ({took})", flush=True)
    return True


@contextlib.contextmanager
def _player(engine: str) -> Iterator[Player]:
    """What plays a round on an engine."""
    if engine == "local":
        yield _play_locally
        return
    from tests.drill.on_ray import play_on_ray

    with tempfile.TemporaryDirectory(prefix="drill-home-") as home, running_cluster() as cluster:
        os.environ |= {"HOME": home, "RAY_USAGE_STATS_ENABLED": "0"}
        yield lambda drawn, api: play_on_ray(drawn, api, cluster)


def _play_locally(drawn: Round, api: LocalFilesApi) -> None:
    """One round on the local engine: the driver is all there is to kill."""
    engine = ("--engine", "local")
    play(drawn, api, [[kill_driver]] * drawn.kills, engine, engine)


def _clean_environment() -> None:
    for name in list(os.environ):
        if name.startswith(("TOGETHER_", "AWS_", "RAY_", "INGEST_")):
            del os.environ[name]
    os.environ |= {"TOGETHER_API_KEY": NODE_API_KEY, "NO_COLOR": "1"}


if __name__ == "__main__":
    sys.exit(main())
