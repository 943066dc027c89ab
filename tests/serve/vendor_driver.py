"""Uses one file with the vendor's client; run in that client's own Python.

    python vendor_driver.py BASE_URL API_KEY FILE [PART_SIZE_BYTES]

With a part size, the client's constants are lowered so that FILE goes multipart in parts of about
that size; nothing else of the client is touched. Prints one JSON object with what each call gave.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import together

try:  # 1.x
    from together import filemanager as plan
    from together.resources import files as choice
except ImportError:  # 2.x on
    from together.lib.resources import files as plan

    choice = plan

base_url, api_key, path = sys.argv[1:4]
if len(sys.argv) > 4:
    plan.TARGET_PART_SIZE_MB = int(sys.argv[4]) / 2**20
    plan.MIN_PART_SIZE_MB = 1 / 2**20
    choice.MULTIPART_THRESHOLD_GB = 0


def plain(answer: Any) -> Any:
    return answer.model_dump(mode="json", by_alias=True)


client = together.Together(api_key=api_key, base_url=base_url, max_retries=0)
uploaded = client.files.upload(Path(path), purpose="fine-tune", check=False)
again = client.files.upload(Path(path), purpose="fine-tune", check=False)
if hasattr(client.files, "retrieve_content"):
    content = Path(client.files.retrieve_content(uploaded.id, output=path + ".back").filename)
else:
    content = Path(path + ".back")
    client.files.content(uploaded.id).write_to_file(content)
passing = Path(path).with_name("passing.jsonl")
passing.write_text('{"text": "soon gone"}\n')
deleted = client.files.delete(client.files.upload(passing, purpose="fine-tune", check=False).id)
print(
    json.dumps(
        {
            "uploaded": plain(uploaded),
            "again": plain(again),
            "retrieved": plain(client.files.retrieve(uploaded.id)),
            "listed": [file.id for file in client.files.list().data],
            "content": str(content),
            "deleted": plain(deleted),
        }
    )
)
