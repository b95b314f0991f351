"""The passages and photos whose meaning is nearest to a question: a model makes a vector of each, and the engine
compares them. The pages share the engine's one index of a model; `version` says whose vectors it has."""

import js
from studio.shell.models import Job, Model

TRIES = 3  # another page may replace the index between two requests


async def nearest(model: Model, text: str, version: str, vectors: list, most: int) -> list:
    """[(number of the vector, cosine), ...], the nearest to a text first. Raises Failure."""
    if not vectors:
        return []
    wish = {"inputs": text, "k": min(most, len(vectors)), "version": version}
    for _ in range(TRIES):
        body = await answer(model, "search", wish)
        if body["found"] is not None:
            return body["found"]
        size = vectors[0].length
        rows = js.Float32Array.new(size * len(vectors))
        for place, vector in enumerate(vectors):
            rows.set(vector, place * size)
        await answer(model, "index", {"dimensions": size, "version": version}, (rows,), (rows.buffer,))
    return []


async def answer(model: Model, method: str, params: dict, attachments=(), moved=()) -> dict:
    """The engine's answer to a request that has no partial results. Raises Failure."""
    return await Job(model, lambda body: None, (method, params, attachments, moved)).result()


def vectors_of(body: dict) -> list:
    """The vectors that the engine made, as Float32Arrays."""
    size, numbers = body["dimensions"], body["attachments"][0]
    return [numbers.slice(start, start + size) for start in range(0, numbers.length, size)]
