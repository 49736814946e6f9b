"""Numbers of the protocol that need no other module: the command line starts faster for it."""

RELEASE = "0.1.0"
"""The one place where the version is written; asking the installed distribution would take 15 ms."""

PROTOCOL = 1
"""What this release speaks. It speaks the version before as well, and reads the one after: upgrades go node by node."""
PROTOCOL_MIN = max(1, PROTOCOL - 1)
PROTOCOL_READ_MAX = PROTOCOL + 1

FRAME_BYTES_MAX = 1024 * 1024
WIRE_BYTES_MAX = FRAME_BYTES_MAX + 1024
"""What libzmq accepts before it hangs up: it counts the box that CURVE puts around a frame."""
HEADER_FIELDS = 7
CLUSTER_CHARS_MAX = 64
STRING_CHARS_MAX = 1024
TEXT_CHARS_MAX = 256 * 1024
"""Of the two fields that hold JSON: `Request.params` and `Response.body`."""
ITEMS_MAX = 1024
PIECE_BYTES_MAX = 64 * 1024
"""Of a snapshot, in one message."""
VALUE_BYTES_MAX = 64 * 1024
"""Of one replicated value, as JSON text in UTF-8."""
LOCK_TTL_S, LOCK_WAIT_S, LOCK_DELAY_S = (0.1, 86_400.0), (0.0, 3600.0), (0.0, 3600.0)
"""Shortest and longest: a lock's life, a wait for it, and how long it stays closed after it ran out."""
COMMAND_BYTES_MAX = VALUE_BYTES_MAX + 4 * 1024
"""Of one client command: a value, a key, and who sent it."""
BATCH_BYTES_MAX = 128 * 1024
"""Of the client commands in one entry."""
ENTRY_BYTES_MAX = BATCH_BYTES_MAX + 16 * 1024
SEND_QUEUE_MAX = 128
RECEIVE_QUEUE_MAX = 256
"""Messages per connection. When full, the kernel's buffers fill, then the sender's queue, then it drops."""
PORT_MAX = 65534
"""Of the gossip port: the next one is needed too."""

BUNDLE_KIND = 22
BUNDLE_ANSWER_KIND = 23
REQUEST_KIND = 30
RESPONSE_KIND = 31

READ_METHODS = frozenset(
    {
        "ping", "status", "operation", "is", "health", "events", "event",
        "state_get", "state_list", "state_watch", "lock_show", "lock_list",
        "facts", "survey", "clock",
    }
)  # fmt: skip
"""Control methods that change nothing: open to the viewer key (`health` without `run`), and safe to repeat."""

ERROR_CODES = (
    "no_quorum", "refused", "failed", "usage", "auth", "timeout", "unavailable", "unknown_outcome", "overloaded",
    "forgotten", "full", "off",
)  # fmt: skip
