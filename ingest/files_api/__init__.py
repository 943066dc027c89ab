"""The one place that talks to the Files API: ``client`` makes the calls, ``wire`` reads replies.

Called by the driver alone: it is the only holder of the key. Bodies go to storage, not through
here; ``ingest.transfer`` sends those.
"""

from ingest.files_api.client import FilesApi
from ingest.files_api.wire import Existing, MultipartTicket, RemoteFile, SingleTicket

__all__ = ["Existing", "FilesApi", "MultipartTicket", "RemoteFile", "SingleTicket"]
