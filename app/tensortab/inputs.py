"""The arguments of tasks: a file as a path or as bytes, one input or a list of them, and the number of answers."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from numbers import Real
from typing import Any

from .errors import Error


def file_bytes(source: Any) -> Any:
    """The bytes of a file, from its path or a bytes-like object; None if `source` is neither. Raises
    Error("bad_request") if the path cannot be read."""
    if isinstance(source, bytes | bytearray):
        return source
    if isinstance(source, memoryview) and source.format == "B" and source.ndim == 1:
        return source
    if not isinstance(source, str | os.PathLike):
        return None
    try:
        with open(source, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise Error("bad_request", f"The file {str(source)!r} cannot be read: {reason}. Check the path.") from None


def depth(source: Any) -> int:
    """How deep lists of numbers are nested: 1 for [0.5, 1], 2 for [[1], [2]], and 0 for anything else."""
    count = 0
    while isinstance(source, list | tuple) and source:
        source, count = source[0], count + 1
    return count if isinstance(source, Real) else 0


def several(inputs: Any, deepest: int = 0) -> bool:
    """Whether `inputs` is a list of inputs. Lists of numbers nested at most `deepest` times are one input."""
    return isinstance(inputs, list | tuple) and not 0 < depth(inputs) <= deepest


async def each(inputs: Any, one: Callable[[Any], Awaitable[Any]], deepest: int = 0) -> Any:
    """one(inputs), or a list of one(input) if there are several. All have ended before the first error is raised."""
    if not several(inputs, deepest):
        return await one(inputs)
    results = await asyncio.gather(*map(one, inputs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def one_of(name: str, value: Any, names: Iterable[str]) -> None:
    """Raises Error("bad_request") unless the value of the option `name` is one of `names`."""
    known = list(names)
    if not isinstance(value, str) or value not in known:
        raise Error("bad_request", f"{name} is {value!r:.60}: use one of {', '.join(known)}.")


def best_of(top_k: Any, count: int) -> int:
    """The number of answers wanted, at most `count`; None stands for all. Raises Error("bad_request")."""
    if top_k is None:
        return count
    if type(top_k) is not int or top_k < 1:
        raise Error("bad_request", f"top_k is {top_k!r}: use an integer of at least 1, or None for all.")
    return min(top_k, count)
