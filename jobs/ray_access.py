"""Whether a Ray cluster is there, and whether it lets us in: asked before Ray itself is started.

Ray looks for a cluster that is not there for two minutes and then aborts the process, so a run
knocks first. Ray clusters may want a token; here is where it is found. Used by the Ray engine and
by `ingest submit`.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from ingest.errors import UsageError

_KNOCK_TIMEOUT_S = 10.0
# Any call tells what we want to know; this one reads nothing.
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


def find_token() -> str | None:
    """The token of a cluster, from where Ray looks for it; a cluster without one ignores it."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if token:
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def bring_own_token() -> None:
    """Give an embedded Ray a token in the environment, if there is none that it would find.

    Else it would write one to the user's home, and so turn authentication on for every later
    cluster of this user.
    """
    if find_token() is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def knock(address: str) -> None:
    """Prove that a cluster answers at ``address``, and have Ray send the token that it wants.

    Args:
        address: ``HOST:PORT`` as `ray start` prints it; ``auto`` is left to Ray.

    Raises:
        UsageError: nothing answers there, what answers is not Ray, or it refuses us.
    """
    if "://" in address:
        raise UsageError(
            f"--address {address}: expected HOST:PORT of a cluster that this machine is a node of, "
            "or auto; from elsewhere, `ingest submit --address http://HOST:8265 -- ...`"
        )
    over_tls = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    if address == "auto" or over_tls:
        return
    with_token = os.environ.get("RAY_AUTH_MODE") == "token"
    token = find_token()
    if _lets_in(address, token if with_token else None):
        return
    if with_token or token is None or not _lets_in(address, token):
        raise UsageError(
            f"--address {address}: the cluster wants a token and "
            f"{'refuses the one' if token else 'there is none'} here; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN, or copy the head's ~/.ray/auth_token to this machine"
        )
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # it has read its settings; read them again, as it does itself
        from ray._raylet import Config  # type: ignore[attr-defined]  # not in its stub

        Config.initialize("")


def _lets_in(address: str, token: str | None) -> bool:
    """Whether the cluster at ``address`` takes a call with this token.

    Raises:
        UsageError: there is no cluster.
    """
    import grpc

    metadata = (("authorization", f"Bearer {token}"),) if token else None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CHECK_ALIVE)(b"", timeout=_KNOCK_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise UsageError(
                    f"--address {address}: no Ray cluster answers there; expected HOST:PORT as "
                    "`ray start --head` prints it (6379 by default, not the dashboard's 8265)"
                ) from None
            return bool(code != grpc.StatusCode.UNAUTHENTICATED)
    return True
