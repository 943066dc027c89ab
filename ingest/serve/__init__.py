"""The local Files API: a real server that speaks Together AI's Files API, for any client.

Three things use it: ``ingest serve`` (a rehearsal without an account), the demo, and the tests.
The vendor's own clients upload to it with nothing changed but the base URL.

    with LocalFilesApi(api_key="k") as api:
        client = Together(base_url=api.base_url, api_key="k")
        ...
        api.script(Fault(where="put-part", what="reset", at="middle", part=2))
        assert api.stored_bytes(file_id) == expected

How a request travels::

    client ── PUT (signed URL) ──> gate ──> storage_put ──> disk          with S3 storage the PUT
       │                             │                                    goes to S3, not here
       └── API calls ─────────────> gate ──> endpoints ──> catalog (records), storage (disk | s3)
                                     │            └──────> processing ──> examination
                                     └── faults, strikes; calls (the log)

- `gate`: log entry, key, fields, scripted faults, errors into replies
- `endpoints`: the calls of the API, and the rules for parts
- `storage` is an interface; `disk` (with `signing`, `joining`) and `s3` implement it
- `records`: one JSON document a file, from which a restarted server goes on
- `processing`, `examination`: PENDING to COMPLETED, by the same rules as ``ingest check``
- `faults`, `strikes`: misbehaviour on request; `control`: the endpoints that script it
- `server`, `in_thread`: the whole, in the foreground or in a thread

It holds no body in memory, and writes no key and no signed URL to a log.
"""

from ingest.serve.calls import Seen, Where
from ingest.serve.faults import Fault
from ingest.serve.in_thread import LocalFilesApi
from ingest.serve.server import run
from ingest.serve.settings import ServeSettings

__all__ = ["Fault", "LocalFilesApi", "Seen", "ServeSettings", "Where", "run"]
