"""Visits every state within a scenario's bounds, breadth first, and tells the shortest story of a violation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from tests.planner.model.executor import Executor
from tests.planner.model.invariants import violations_now, violations_of_step, violations_settled
from tests.planner.model.mistakes import Mistakes
from tests.planner.model.world import Flight, Scenario, World, user_moves

from mailtwin.model import NO_FLAGS, Side


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an exploration found: `violation` is empty when nothing; `story` leads to it; `states` were visited."""

    violation: str
    story: tuple[str, ...]
    states: int

    def __str__(self) -> str:
        steps = "".join(f"\n  {number}. {step}" for number, step in enumerate(self.story, 1))
        return f"{self.violation or 'sound'} after {self.states} states{steps}"


def explore(scenario: Scenario, mistakes: Mistakes = frozenset(), *, states_max: int = 2_000_000) -> Outcome:
    """Visits every state of `scenario`. Raises OverflowError beyond `states_max` states: the bounds are too wide."""
    executor = Executor(scenario, mistakes)
    first = scenario.first_world()
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        world = waiting.popleft()
        settled = executor.settle(world)
        unresolved = executor.unresolved(settled) if settled is not None else ()
        wrong = chain(violations_now(scenario, world), violations_settled(scenario, settled, unresolved))
        found = next(wrong, "")
        if found:
            return Outcome(found, _story(came_from, world), len(came_from))
        for name, after, is_users in _moves(scenario, executor, world):
            if after in came_from:
                continue
            came_from[after] = (world, name)
            found = "" if is_users else next(violations_of_step(scenario, world, after), "")
            if found:
                return Outcome(found, _story(came_from, after), len(came_from))
            waiting.append(after)
        if len(came_from) > states_max:
            raise OverflowError(f"more than {states_max} states")
    return Outcome("", (), len(came_from))


def _story(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    story = []
    step = came_from[world]
    while step is not None:
        world, name = step
        story.append(name)
        step = came_from[world]
    return tuple(reversed(story))


def _moves(scenario: Scenario, executor: Executor, world: World) -> Iterator[tuple[str, World, bool]]:
    """Every move out of this state: what it is, where it leads, and whether it is a user's."""
    for name, after in user_moves(scenario, world):
        yield name, after, True
    for name, after in _enemy_moves(executor, world):
        yield f"enemy: {name}", after, False
    working = world.queue or world.batch
    for name, after in executor.steps(world) if working else executor.plans(world):
        yield f"mailtwin {name}", after, False


def _enemy_moves(executor: Executor, world: World) -> Iterator[tuple[str, World]]:
    budget = world.budget
    if budget.crashes and not world.idle():
        yield "crash", executor.crashed(world)._replace(budget=budget._replace(crashes=budget.crashes - 1))
    for index, flight in enumerate(world.flights):
        if index == world.flights.index(flight):
            rest = world._replace(flights=world.flights[:index] + world.flights[index + 1 :])
            yield f"{_text(flight)} lands late", executor.effect(rest, flight)
    if budget.lessons and world.idle():
        spent = world._replace(budget=budget._replace(lessons=budget.lessons - 1))
        right = world.boxes[Side.RIGHT]._replace(deaf_to=NO_FLAGS)
        yield "right learns to hold every flag", spent.with_box(Side.RIGHT, right)
    if budget.renumberings and world.idle():
        for side in Side:
            spent = world._replace(budget=budget._replace(renumberings=budget.renumberings - 1))
            yield f"{side.label} gets a new UIDVALIDITY", _renumbered(spent, side)


def _text(flight: Flight) -> str:
    return "a copy" if flight.append else "a change of flags" if flight.store else "a removal"


def _renumbered(world: World, side: Side) -> World:
    """The same messages under other numbers; a command by UID is lost with the session it was sent in."""
    box = world.boxes[side]
    mails = tuple(mail._replace(ref=number) for number, mail in enumerate(box.mails, 1))
    flights = tuple(f for f in world.flights if f.side is not side or f.append is not None)
    box = box._replace(mails=mails, next=len(mails) + 1, validity=box.validity + 1)
    return world.with_box(side, box)._replace(flights=flights)
