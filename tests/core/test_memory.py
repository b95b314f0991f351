"""The memory planner: tensors that live at the same time never share a buffer."""

from hypothesis import given
from hypothesis import strategies as st
from tensortab.memory import Lifetime, Pool, assign

LIVES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.integers(1, 5000)), max_size=40)


@given(LIVES)
def test_lifetimes_never_overlap_in_a_buffer(drawn):
    lives = [Lifetime(n, size, first, first + length) for n, (first, length, size) in enumerate(drawn)]
    place, sizes = assign(lives)
    for a in lives:
        assert sizes[place[a.key]] >= a.nbytes
        for b in lives:
            if a.key != b.key and place[a.key] == place[b.key]:
                assert a.last < b.first or b.last < a.first


def test_a_chain_needs_two_buffers():
    _, sizes = assign([Lifetime(n, 100, n, n + 1) for n in range(10)])
    assert len(sizes) == 2
    assert len(assign([Lifetime(n, 100, n, n + 1) for n in range(10)], share=False)[1]) == 10


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=8), st.randoms(use_true_random=False))
def test_plans_share_buffers_and_the_last_gives_them_back(plans, random):
    live: dict[int, int] = {}

    def make(size: int) -> int:
        live[made := len(numbers)] = size
        numbers.append(made)
        return made

    numbers: list[int] = []
    pool = Pool(make, lambda buffer: live.pop(buffer))
    held = []
    for sizes in plans:
        held.append(pool.acquire(sizes))
        assert len(set(held[-1])) == len(sizes)
        assert all(live[buffer] >= size for buffer, size in zip(held[-1], sizes, strict=True))
    assert len(numbers) <= sum(map(len, plans))
    random.shuffle(held)
    while held:
        pool.release(held.pop())
        assert set(live) == {buffer for taken in held for buffer in taken}


def test_a_plan_takes_what_is_there():
    sizes: list[int] = []
    pool = Pool(lambda size: sizes.append(size) or len(sizes), lambda buffer: None)
    assert sorted(pool.acquire([5, 100])) == sorted(pool.acquire([90, 4])) and sizes == [100, 5]
    pool.acquire([101])
    assert sizes == [100, 5, 101]
