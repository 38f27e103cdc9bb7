"""An agent's life on this machine: it stands up, is left alone when nothing changed, comes back, and goes without a trace."""

from __future__ import annotations

from tests.drivers.native.conftest import World


def test_everything_stands_up_and_a_second_look_finds_nothing_to_do(world: World) -> None:
    world.stand_up()
    assert world.differences() == []


def test_everything_stands_up_in_rooms_and_a_second_look_finds_nothing_to_do(confined: World) -> None:
    confined.stand_up()
    assert confined.differences() == []
