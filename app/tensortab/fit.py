"""Whether a model fits the GPU, as far as can be said before it is downloaded: browsers do not say how much memory it
has. What ran or failed here before counts most, then the adapter's limits."""

from typing import Any, NamedTuple


class Fit(NamedTuple):
    """fits: "yes", "maybe" or "no". reason: why.

    no_gpu               no GPU answered
    ran, failed          the model itself was loaded here, or the GPU had no memory for it
    larger_ran           a model that needs more memory was loaded here
    smaller_failed       the GPU had no memory for a model that needs less
    device_memory        of a software adapter: it shares the device's memory, of which the model needs at most half
                         (yes), more (maybe) or more than there is (no)
    buffer_limit         it needs less (yes) or more (maybe) than what the GPU allows in one buffer
    """

    fits: str
    reason: str


def fit(
    name: str, memory: int, info: dict[str, Any] | None, runs: dict[str, dict[str, Any]], device_memory: float = 0
) -> Fit:
    """memory: bytes on the GPU that the model needs. info: the device's, None if there is none. runs: by the models'
    names, the "memory" that each one needed on this GPU, and whether it "ran". device_memory: bytes, 0 if the browser
    does not say."""
    if info is None:
        return Fit("no", "no_gpu")
    if name in runs:
        return Fit("yes", "ran") if runs[name]["ran"] else Fit("no", "failed")
    if any(run["memory"] >= memory for run in runs.values() if run["ran"]):
        return Fit("yes", "larger_ran")
    if any(run["memory"] <= memory for run in runs.values() if not run["ran"]):
        return Fit("no", "smaller_failed")
    if info["fallback"] and device_memory:
        half = memory <= device_memory / 2
        return Fit("yes" if half else "maybe" if memory <= device_memory else "no", "device_memory")
    return Fit("yes" if memory <= info["limits"]["maxBufferSize"] else "maybe", "buffer_limit")
