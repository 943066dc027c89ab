"""`ingest serve`: the local Files API."""

from __future__ import annotations

from typing import Any

import click

from ingest.errors import UsageError

EXAMPLES = """
\b
Example: a rehearsal without an account
  export TOGETHER_API_KEY=rehearsal
  ingest serve --data-dir /tmp/files-api &
  ingest publish data/ --manifest out.jsonl --base-url http://127.0.0.1:8400/v1
"""


@click.command(
    "serve", short_help="Run a local Files API for rehearsals and tests.", epilog=EXAMPLES
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=8400, show_default=True, help="0: a free one.")
@click.option(
    "--data-dir", default="files-api-data", show_default=True, help="Where files are kept."
)
@click.option("--api-key", help="The bearer key clients must send  [$TOGETHER_API_KEY].")
@click.option("--storage", metavar="s3://BUCKET", help="Keep contents in S3 instead.")
@click.option("--s3-endpoint", metavar="URL", help="An S3 endpoint other than AWS's.")
@click.option(
    "--min-part-size", "min_part_size_bytes", metavar="SIZE", help="For all but the last  [5MiB]."
)
@click.option("--max-file-size", "max_file_size_bytes", metavar="SIZE", help="[50.1GiB]")
@click.option(
    "--url-expiry", "url_expiry_s", type=int, metavar="SECONDS", help="Of storage URLs  [3600]."
)
def command(**flags: Any) -> int:
    """Run a local Files API, for rehearsals and tests; stops on Ctrl-C.

    Its first line on stdout is its base URL.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from ingest.serve import ServeSettings, run

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        for name in ("min_part_size_bytes", "max_file_size_bytes"):
            if name in given:
                given[name] = int(TypeAdapter(ByteSize).validate_python(given[name]))
        settings = ServeSettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "serve"
        raise UsageError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    run(settings)
    return 0
