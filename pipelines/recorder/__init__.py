"""An agent's side of the log: wrap a chat loop and every input and output becomes an event.

`Recorder` owns a bounded buffer and the thread that sends; `Talk` is one conversation. What a request or response of a
client library looks like is in `wire`, of streams in `chunks`; a call that is under way is in `asking`, how a request is
compared with what was recorded in `history`, what the store can hold in `storable`, what waits to be sent in `packet` and
`spill`, how it is sent in `sender`. Nothing here may break the agent: an absent store, a full disk or an odd value ends in
the log, not in the caller, unless the caller asked for it.
"""

from pipelines.recorder.recorder import Recorder
from pipelines.recorder.status import RecorderFull, RecorderStatus, WhenFull
from pipelines.recorder.talk import Talk

__all__ = ["Recorder", "RecorderFull", "RecorderStatus", "Talk", "WhenFull"]
