"""The one exception of TensorTab: a code for programs, a message for people."""

# The one list of codes: static/executor.js, the engine's worker and the page use the same ones. "bad_request" means
# that the caller asked for something impossible; "internal" is a fault of ours, "start_failed" one during the start.
CODES = (
    "no_webgpu", "no_adapter", "out_of_memory", "device_lost", "bad_shard", "bad_file",
    "context_exceeded", "quota", "permission", "offline", "aborted", "bad_request", "internal", "start_failed",
)  # fmt: skip


class Error(Exception):
    """An error with a `code` from CODES; its message says what happened and what to do about it."""

    def __init__(self, code: str, message: str):
        assert code in CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
