"""`ingest submit`: a publish as a job on a Ray cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ingest.errors import UsageError

EXAMPLES = """
\b
Example:
  ingest submit --address http://head:8265 -- 's3://corpus/*.jsonl' --manifest s3://corpus/out.jsonl
The key is read on the cluster: TOGETHER_API_KEY there, --api-key-file or --api-key-secret.
"""


@click.command(
    "submit",
    short_help="Send a publish to a Ray cluster as a job.",
    epilog=EXAMPLES,
    context_settings={"ignore_unknown_options": True},
)
@click.option("--address", required=True, metavar="URL", help="The cluster's dashboard.")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- ARGS")
def command(address: str, arguments: tuple[str, ...]) -> int:
    """Send a publish to a Ray cluster as a job.

    ARGS are those of publish. The job's log is shown on stderr; its manifest is brought back to
    the same path on this machine (one in s3:// stays there); the exit code is the job's own.
    """
    from ingest.settings import PublishSettings
    from jobs.commands import publish
    from jobs.commands.options import settings_from
    from jobs.commands.output import stoppable

    parsed = publish.command.make_context("ingest submit", list(arguments)).params
    if not parsed["manifest"]:
        raise click.UsageError(publish.NO_MANIFEST)
    refuse_relative(parsed)
    # Now and not in the job: its command line can be read by anyone who can list jobs.
    settings_from(PublishSettings, parsed)
    from jobs.submission import submit

    with stoppable() as stop:
        code, lines = submit(
            address, arguments, stop, lambda line: print(line, file=sys.stderr, flush=True)
        )
    if lines and not parsed["manifest"].startswith("s3://"):
        _bring_back(Path(parsed["manifest"]), lines)
    return code


_FILES = ("manifest", "api_key_file", "json_file", "problems")


def refuse_relative(parsed: dict[str, object]) -> None:
    """Refuse paths that mean something else on another machine, or in a job's temporary folder.

    Raises:
        UsageError: an input, the manifest, the key file or a report is a relative path.
    """
    inputs = parsed["inputs"]
    assert isinstance(inputs, tuple)
    for path in (*inputs, *(parsed[name] for name in _FILES)):
        if path and not path.startswith(("s3://", "/")) and path != "-":
            raise UsageError(
                f"{path}: a job runs in a temporary folder, on another machine; give an absolute "
                "path that all nodes see, or s3://"
            )


def _bring_back(path: Path, lines: list[str]) -> None:
    from ingest.run_store import LocalRunStore

    content = "".join(line + "\n" for line in lines)
    try:
        if path.exists() and path.read_text(encoding="utf-8") == content:
            return  # the cluster and we see the same file system
        path.parent.mkdir(parents=True, exist_ok=True)
        LocalRunStore(str(path)).replace_manifest(content.encode())
    except OSError as error:
        raise UsageError(
            f"{path}: the manifest cannot be written here ({error.strerror})"
        ) from None
