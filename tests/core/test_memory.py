"""The memory planner: nothing that lives at the same time shares a buffer."""

from hypothesis import given
from hypothesis import strategies as st
from tensortab.memory import Lifetime, assign

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
