"""The command line: ``ingest COMMAND``. Each command is a module of ``jobs.commands``.

Here is what all of them share: how errors become one line and an exit code, and how Ctrl-C stops
a run. Nothing heavy is imported before a command needs it: ``ingest --help`` must be quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from ingest import __version__
from ingest.errors import IngestError
from jobs.commands import abort, check, plan, publish, rules, serve, status, submit, verify

EXIT_CODES = """
\b
Exit codes:
  0    all done
  1    unexpected failure: run again
  2    wrong use, or input that cannot be read
  3    some uploads failed or are unknown: run again to go on
  4    the API refused the key
  5    data is invalid
  130  interrupted: run again to go on
"""

EXAMPLES = """

\b
Examples:
  ingest check data/                               is everything valid?
  ingest publish data/ --manifest published.jsonl  send it, and record the file ids
  ingest publish 's3://corpus/*.jsonl' --manifest s3://corpus/published.jsonl --engine ray
  ingest status published.jsonl                    what is done, what is left?
"""


@click.group(
    help="Validate, shard and publish bulk datasets to Together AI, resumably." + EXAMPLES,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ingest")
def cli() -> None:
    """Hold the commands."""


for _command in (
    check.command,
    plan.command,
    publish.command,
    status.command,
    verify.command,
    abort.command,
    rules.command,
    serve.command,
    submit.command,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; ``arguments`` default to the process's own."""
    words = sys.argv[1:] if arguments is None else arguments
    code = _run(list(words))
    sys.stdout.flush()
    sys.exit(code)


def _run(words: list[str]) -> int:
    try:
        result = cli.main(words, prog_name="ingest", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "ingest"
        return _fail(f"{error.format_message()} See '{where} --help'.", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except IngestError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; run the same command again to go on", 130)
    except BrokenPipeError:
        # The reader of our output (head, say) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("INGEST_DEBUG"):
            traceback.print_exc()
        kind = type(error).__name__
        return _fail(f"unexpected {kind}: {error}; INGEST_DEBUG=1 shows where it happened", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"ingest: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
