"""The Files API by hand, one function a request, so that tests see every status and header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import requests

from ingest.serve import LocalFilesApi


@dataclass
class Wire:
    """Sends single requests; asserts nothing unless it says so."""

    api: LocalFilesApi
    prefix: str = "/v1"

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.api.api_key}", **kwargs.pop("headers", {})}
        url = self.api.origin + self.prefix + path
        return requests.request(
            method, url, headers=headers, allow_redirects=False, timeout=10, **kwargs
        )

    def create(self, name: str = "a.jsonl", **fields: str) -> requests.Response:
        form = {"purpose": "fine-tune", "file_name": name, "file_type": "jsonl", **fields}
        return self.call("POST", "/files", data=form)

    def initiate(self, size: int, parts: int, **fields: Any) -> requests.Response:
        body = {
            "file_name": "a.jsonl",
            "file_size": size,
            "num_parts": parts,
            "purpose": "fine-tune",
            "file_type": "jsonl",
            **fields,
        }
        return self.call("POST", "/files/multipart/initiate", json=body)

    def complete(self, upload: dict[str, Any], etags: list[str]) -> requests.Response:
        parts = [{"part_number": n, "etag": etag} for n, etag in enumerate(etags, start=1)]
        body = {"upload_id": upload["upload_id"], "file_id": upload["file_id"], "parts": parts}
        return self.call("POST", "/files/multipart/complete", json=body)

    def preprocess(self, file_id: str) -> requests.Response:
        return self.call("POST", f"/files/{file_id}/preprocess")

    def retrieve(self, file_id: str) -> requests.Response:
        return self.call("GET", f"/files/{file_id}")

    def uploaded(self, data: bytes, name: str = "a.jsonl", **fields: str) -> str:
        """Upload a file in one request; its id. Fails if any step does."""
        created = self.create(name, **fields)
        assert created.status_code == 302, created.text
        stored = put(created.headers["Location"], data)
        assert stored.status_code == 200, stored.text
        file_id = created.headers["X-Together-File-Id"]
        finished = self.preprocess(file_id)
        assert finished.status_code == 200, finished.text
        return file_id

    def initiated(self, parts: list[bytes], **fields: Any) -> tuple[dict[str, Any], list[str]]:
        """Open a multipart upload and send its parts: the reply, and the unquoted ETags."""
        upload = self.initiate(sum(map(len, parts)), len(parts), **fields).json()
        replies = [
            put(target["URL"], part) for target, part in zip(upload["parts"], parts, strict=True)
        ]
        return upload, [reply.headers["ETag"].strip('"') for reply in replies]


def put(url: str, data: Any, **kwargs: Any) -> requests.Response:
    return requests.put(url, data=data, timeout=10, allow_redirects=False, **kwargs)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jsonl(records: int, *, text: str = "some words") -> bytes:
    """A valid dataset of so many records."""
    return b"".join(b'{"text": "%s %d"}\n' % (text.encode(), n) for n in range(records))
