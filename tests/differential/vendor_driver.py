"""Answers for one version of the vendor's client; runs in that client's own Python.

Started by ``reference.py``. Reads one JSON request a line on stdin (``{"path", "purpose"}``) and
writes one JSON answer a line on stdout, so that thousands of files cost one import. It must use
nothing but the standard library and the client.

Usage: vendor_driver.py [FALLBACK_SITE_PACKAGES]

Parquet files need pyarrow, which the clients do not depend on: where it is missing, it is taken
from the fallback.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

CheckFile = Callable[..., dict[str, Any]]


def _find_check_file() -> CheckFile:
    try:
        module = importlib.import_module("together.lib.utils.files")  # 2.x and 3.x
    except ImportError:
        module = importlib.import_module("together.utils.files")  # 1.x
    check_file: CheckFile = module.check_file
    return check_file


def _answer(check_file: CheckFile, path: str, purpose: str) -> dict[str, Any]:
    try:
        report = check_file(path, purpose=purpose)
    except ImportError:
        raise  # pyarrow is missing: that says nothing about the file
    except Exception as error:
        return {"valid": False, "line": None, "message": f"crash: {error!r}"[:300]}
    message = str(report.get("message"))
    line = report.get("line_number")
    if line is None:
        # Faults in the JSON itself have their line in the message alone.
        told = re.search(r"Unexpected format on line (\d+)\.", message)
        line = int(told[1]) if told else None
    return {"valid": bool(report["is_check_passed"]), "line": line, "message": message[:300]}


def main() -> None:
    """Answer requests until stdin ends."""
    if importlib.util.find_spec("pyarrow") is None and len(sys.argv) > 1:
        sys.path.append(sys.argv[1])
    answers = sys.stdout
    # Whatever the client prints must not come between the answers; progress bars go nowhere.
    sys.stdout = sys.stderr
    os.environ["TOGETHER_DISABLE_TQDM"] = "true"
    check_file = _find_check_file()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_answer(check_file, request["path"], request["purpose"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
