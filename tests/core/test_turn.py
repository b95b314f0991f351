"""Turns: first come, first served, unless the owner of the last turn asks for another one at once."""

import asyncio

import pytest
from tensortab.turn import Turn


def test_first_come_first_served():
    async def run() -> list[str]:
        turn, order = Turn(), []

        async def one(who: str) -> None:
            await turn.take(who)
            order.append(who)
            await asyncio.sleep(0)
            turn.leave()

        await asyncio.gather(*map(one, "abcd"))
        return order

    assert asyncio.run(run()) == list("abcd")


@pytest.mark.parametrize("away", [0, 1])
def test_who_comes_straight_back_keeps_it(away):
    """An owner that does something else for one iteration of the event loop has to queue again."""

    async def run() -> list[str]:
        turn, order = Turn(), []

        async def reader(who: str) -> None:
            for _ in range(3):
                if not turn.retake(who):
                    await turn.take(who)
                order.append(who)
                turn.leave()
                for _ in range(away):
                    await asyncio.sleep(0)

        await asyncio.gather(reader("a"), reader("b"))
        return order

    assert asyncio.run(run()) == list("aaabbb" if not away else "ababab")


def test_who_is_stopped_while_waiting_leaves_the_line():
    async def run() -> None:
        turn = Turn()
        await turn.take("a")
        b, c = (asyncio.ensure_future(turn.take(who)) for who in "bc")
        await asyncio.sleep(0)
        b.cancel()
        await asyncio.sleep(0)
        turn.leave()
        await c
        assert turn.last == "c"

    asyncio.run(run())


def test_a_turn_that_comes_together_with_the_stop_goes_on():
    async def run() -> None:
        turn = Turn()
        await turn.take("a")
        b, c = (asyncio.ensure_future(turn.take(who)) for who in "bc")
        await asyncio.sleep(0)
        turn.leave()
        turn._next()  # b has it now, and does not know yet
        b.cancel()
        with pytest.raises(asyncio.CancelledError):
            await b
        await asyncio.wait_for(c, 5)
        assert turn.last == "c"

    asyncio.run(run())
