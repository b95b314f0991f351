"""Index: the nearest vectors against NumPy; it grows, is kept as bytes, and is freed."""

import asyncio

import numpy as np
import pytest
from tensortab import search
from tensortab.errors import Error
from tensortab.search import Index


def nearest(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[list[int], np.ndarray]:
    unit = vectors.astype(np.float64) / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    cosines = unit @ (query / np.linalg.norm(query))
    order = np.argsort(-cosines, kind="stable")[:k]
    return order.tolist(), cosines[order]


def check(index: Index, vectors: np.ndarray, query: np.ndarray, k: int) -> None:
    found = asyncio.run(index.search(query.tolist(), k))
    numbers, cosines = nearest(vectors, query, k)
    assert [number for number, _ in found] == numbers
    np.testing.assert_allclose([cosine for _, cosine in found], cosines, atol=2e-6)


def test_search_while_it_grows(device, rng, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 4 * 64 * 50)  # 50 vectors a chunk
    before = device.counters()["buffers"], device.counters()["bytes"]
    index, vectors = Index(64, device), np.zeros((0, 64), np.float32)
    assert asyncio.run(index.search([1.0] * 64)) == []
    for more in (1, 3, 46, 50, 127):
        new = rng.standard_normal((more, 64)).astype(np.float32) * rng.uniform(0.01, 100, (more, 1)).astype(np.float32)
        index.add(new.tolist())
        vectors = np.concatenate([vectors, new])
        assert index.count == len(vectors)
        for k in (1, 10):
            check(index, vectors, rng.standard_normal(64), k)
        check(index, vectors, vectors[-1] * 3, 1)
    check(index, vectors, -vectors[0], 128)
    index.free()
    assert (device.counters()["buffers"], device.counters()["bytes"]) == before


def test_bytes_bring_it_back(device, rng, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 4 * 32 * 7)
    index, vectors = Index(32, device), rng.standard_normal((20, 32)).astype(np.float32)
    index.add(vectors.tolist())
    data = asyncio.run(index.save())
    kept = np.frombuffer(data, "<f4").reshape(20, 32)
    np.testing.assert_allclose(kept, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6)
    again = Index.load(bytearray(data), 32, device)
    assert (again.count, asyncio.run(again.save())) == (20, data)
    check(again, vectors, vectors[13], 5)
    again.add([vectors[0].tolist()])
    assert {number for number, _ in asyncio.run(again.search(vectors[0].tolist(), 2))} == {0, 20}
    for made in (index, again):
        made.free()
    assert asyncio.run(Index(32, device).save()) == b""


def test_less_than_nothing_is_not_found_in_unused_room(device):
    """All vectors point away and one is zero: the rows that were never written must not win."""
    index = Index(32, device)
    index.add([[-1.0] * 32, [0.0] * 32])
    found = asyncio.run(index.search([1.0] * 32, 5))
    assert [number for number, _ in found] == [1, 0]
    index.free()


def test_searches_at_once(device, rng):
    index, vectors = Index(32, device), rng.standard_normal((9, 32))
    index.add(vectors.tolist())

    async def all_at_once() -> list:
        return await asyncio.gather(*(index.search(vector.tolist(), 1 + n) for n, vector in enumerate(vectors)))

    assert [found[0][0] for found in asyncio.run(all_at_once())] == list(range(9))
    index.free()


def test_what_can_not_be_searched(device):
    for size in (0, 33):
        with pytest.raises(Error, match="multiple of 32"):
            Index(size, device)
    index = Index(32, device)
    with pytest.raises(Error, match="got 31"):
        index.add([[0.0] * 31])
    with pytest.raises(Error, match="must be finite"):
        index.add([[float("nan")] * 32])
    with pytest.raises(Error, match="got 129"):
        asyncio.run(index.search([0.0] * 32, 129))
    with pytest.raises(Error, match="not a whole number of vectors"):
        Index.load(b"123", 32, device)
    assert index.count == 0
