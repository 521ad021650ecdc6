from __future__ import annotations

import tracemalloc

import pytest

from phonesys.sandbox.state import Count, Truth, VendorState


def world(
    locations: int = 50,
    numbers: Count = (0, 12),
    pools: Count = (0, 3),
    not_connected: int = 0,
    leadping: int = 30,
    agents: int = 20,
    agent_count: int = 7,
    seed: int = 1,
) -> VendorState:
    return VendorState(
        locations=locations,
        numbers=numbers,
        pools=pools,
        not_connected=not_connected,
        leadping=leadping,
        agents=agents,
        agent_count=agent_count,
        seed=seed,
    )


def test_every_number_is_in_one_place_only() -> None:
    """Numbers are unique across the vendors and their accounts, what is for sale included."""
    it = world()
    held = [number for numbers in Truth(it).values() for number in numbers] + it.for_sale(50)
    assert len(set(held)) == len(held)
    assert len(it.leadping) == 30
    assert len(it.assignments) == 20


def test_the_same_seed_is_the_same_world() -> None:
    """Generated data depends on the seed and on nothing else."""
    assert dict(Truth(world())) == dict(Truth(world()))
    assert dict(Truth(world(seed=2))) != dict(Truth(world()))


def test_counts_keep_to_their_range() -> None:
    """Both ends of a range occur, and nothing outside of it."""
    it = world(locations=300, numbers=(2, 5), pools=(0, 1))
    found = [it.location(id_) for id_ in it.location_ids]
    assert {len(at.numbers) for at in found if at} == {2, 3, 4, 5}
    assert {at.pools for at in found if at} == {0, 1}


def test_a_fixed_count_is_exact() -> None:
    """An integer is not a range that begins at zero."""
    it = world(numbers=4)
    assert {len(Truth(it)["leadconnector", id_]) for id_ in it.location_ids} == {4}


def test_pools_hold_numbers_of_their_location() -> None:
    """Some numbers sit in a pool that exists, others in none."""
    it = world(numbers=12, pools=2)
    places = [pool for id_ in it.location_ids if (at := it.location(id_)) for pool in at.pool_of]
    assert set(places) == {-1, 0, 1}


def test_unconnected_locations_are_as_many_as_asked_for() -> None:
    """They hold nothing, and the world knows which they are."""
    it = world(locations=40, numbers=3, not_connected=11)
    assert len(it.not_connected) == 11
    assert {id_ for id_ in it.location_ids if not Truth(it)["leadconnector", id_]} == it.not_connected


@pytest.mark.parametrize("count", [-1, (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(count: Count) -> None:
    """A range must be one."""
    with pytest.raises(ValueError, match="range"):
        world(numbers=count)


def test_impossible_worlds_are_refused() -> None:
    """More of something than there can be is an error at once."""
    with pytest.raises(ValueError, match="different numbers"):
        world(locations=10**7, numbers=1000)
    with pytest.raises(ValueError, match="without a phone system"):
        world(locations=1, not_connected=2)


def test_a_large_world_is_instantly_there() -> None:
    """Nothing is generated before somebody asks for it."""
    tracemalloc.start()
    try:
        it = world(locations=1_000_000, numbers=(0, 100))
        assert it.location(it._ids.write(999_999)) is not None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_was_changed_stays_changed() -> None:
    """A number that was added or taken away is so however much is generated in between."""
    it = world(locations=2000, numbers=3)
    here, truth = it.location_ids[5], Truth(it)
    old = next(iter(truth["leadconnector", here]))
    new = it.add(here, pool=0)
    it.remove(here, old)
    for id_ in it.location_ids:
        it.location(id_)
    assert new in truth["leadconnector", here]
    assert old not in truth["leadconnector", here]
    assert len(truth["leadconnector", here]) == 3


def test_truth_is_a_mapping_of_all_accounts() -> None:
    """It has the locations and two more, and nobody else."""
    truth = Truth(world(locations=3))
    assert len(truth) == len(list(truth)) == 5
    for stranger in [("leadping", "other"), ("leadconnector", "nowhere"), ("nobody", "default")]:
        assert stranger not in truth
    with pytest.raises(KeyError):
        world().add("nowhere")


def test_an_account_without_agents_has_no_assignments() -> None:
    """There is nobody to assign a number to."""
    assert world(agent_count=0).assignments == {}


def test_a_world_without_locations_is_possible() -> None:
    """Zero is a number of locations."""
    assert world(locations=0).location_ids == ()
