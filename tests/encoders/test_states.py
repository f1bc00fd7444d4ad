"""Online states against ``transform`` of the whole history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, MixedUserEncoder, UserStates

ITEMS = ItemEmbeddings(np.random.default_rng(0).normal(size=(6, 4)))
TIME_UNITS = ["s", "m", "h", "D", "W"]
SECONDS = {"s": 1, "m": 60, "h": 3600, "D": 86400, "W": 604800}

# Item 6 and 7 are unknown.
event = st.tuples(
    st.integers(0, 7),
    st.integers(0, 30),
    st.sampled_from([1.0, 2.0, 0.25, -1.0, -0.5, 0.0]),
)
users = st.lists(st.lists(event, max_size=9), min_size=1, max_size=4)
encoders = st.one_of(
    st.builds(
        DecayAverageUserEncoder,
        st.just(ITEMS),
        decay=st.sampled_from([0.0, 0.07, 0.5]),
        cold_start=st.just("popular"),
    ),
    st.builds(
        MixedUserEncoder,
        st.just(ITEMS),
        short_decay=st.sampled_from([0.15, 0.4]),
        cold_start=st.just("popular"),
    ),
)


def batch(events, unit_seconds=1, timed=True):
    return Histories.from_lists(
        [[item for item, _, _ in user] for user in events],
        timestamps=[[float(t * unit_seconds) for _, t, _ in user] for user in events]
        if timed
        else None,
        time_unit="s",
        weights=[[weight for _, _, weight in user] for user in events],
    )


def same_vectors(encoder, state, whole):
    expected = encoder.transform(whole)
    found = encoder.transform_state(state)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    return found


@settings(max_examples=60, deadline=None)
@given(users, encoders, st.sampled_from(TIME_UNITS), st.randoms(use_true_random=False))
def test_with_time_units_events_may_arrive_in_any_order(events, encoder, unit, random):
    encoder.set_params(age_unit=unit).fit(batch([[(0, 1, 1.0), (1, 2, 1.0)]]))
    whole = batch(events, SECONDS[unit])
    pieces = [list(user) for user in events]
    for user in pieces:
        random.shuffle(user)
    state = encoder.make_state(batch([user[:2] for user in pieces], SECONDS[unit]))
    for start in range(2, 9, 3):
        arrived = batch([user[start : start + 3] for user in pieces], SECONDS[unit])
        state = encoder.update_state(state, arrived)
    same_vectors(encoder, state, whole)


@settings(max_examples=60, deadline=None)
@given(users, encoders, st.sampled_from(["step", "instant"]), st.integers(1, 8))
def test_with_steps_and_instants_later_events_can_be_added(events, encoder, unit, cut):
    encoder.set_params(age_unit=unit).fit(batch([[(0, 1, 1.0), (1, 2, 1.0)]]))
    events = [sorted(user, key=lambda event: event[1]) for user in events]
    state = encoder.make_state(batch([user[:cut] for user in events]))
    state = encoder.update_state(state, batch([user[cut:] for user in events]))
    same_vectors(encoder, state, batch(events))


@settings(max_examples=30, deadline=None)
@given(users, users, encoders, st.sampled_from(TIME_UNITS))
def test_merging_in_time_units_is_commutative(first, second, encoder, unit):
    encoder.set_params(age_unit=unit).fit(batch([[(0, 1, 1.0)]]))
    n_users = min(len(first), len(second))
    first, second = first[:n_users], second[:n_users]
    a, b = (encoder.make_state(batch(events, SECONDS[unit])) for events in (first, second))
    merged = encoder.merge_states(a, b)
    for left, right in zip(merged.columns, encoder.merge_states(b, a).columns, strict=True):
        np.testing.assert_array_equal(left, right)
    whole = batch([x + y for x, y in zip(first, second, strict=True)], SECONDS[unit])
    same_vectors(encoder, merged, whole)


@pytest.mark.parametrize("unit", ["step", "instant"])
def test_merging_steps_requires_the_earlier_state_first(unit):
    encoder = DecayAverageUserEncoder(ITEMS, decay=0.3, age_unit=unit).fit(
        [[0]] and batch([[(0, 1, 1.0)]])
    )
    early, late = [[(0, 1, 1.0), (1, 2, 1.0)]], [[(2, 2, 1.0), (3, 5, -1.0)]]
    a, b = encoder.make_state(batch(early)), encoder.make_state(batch(late))
    same_vectors(encoder, encoder.merge_states(a, b), batch([early[0] + late[0]]))
    with pytest.raises(ValueError, match=r"later has events of 1 users that are older.*row 0"):
        encoder.merge_states(b, a)


@pytest.mark.parametrize("unit", ["step", "instant"])
def test_a_late_event_in_steps_is_left_out_and_the_others_are_added(unit):
    encoder = DecayAverageUserEncoder(ITEMS, age_unit=unit).fit(batch([[(0, 1, 1.0)]]))
    state = encoder.make_state(batch([[(0, 9, 1.0)], [(0, 1, 1.0)]]))
    with pytest.warns(UserWarning, match=r"1 of 3 events.*row 1 .*age_unit='\w+'.*time unit"):
        state = encoder.update_state(state, batch([[(1, 9, 1.0)], [(1, 0, 1.0), (2, 3, 1.0)]]))
    whole = batch([[(0, 9, 1.0), (1, 9, 1.0)], [(0, 1, 1.0), (2, 3, 1.0)]])
    same_vectors(encoder, state, whole)


def of_users(lists, user_ids):
    return Histories.from_lists(lists, user_ids=user_ids)


def test_new_events_are_matched_with_their_users():
    encoder = DecayAverageUserEncoder(ITEMS, decay=0.3).fit([[0, 1]])
    state = encoder.make_state(of_users([[0], [1], [2]], ["ann", "bob", "cy"]))
    restored = UserStates.from_bytes(UserStates.concatenate([state[:1], state[1:]]).to_bytes())
    new = of_users([[5], [3], []], ["cy", "ann", "bob"])
    whole = [[0, 3], [1], [2, 5]]
    for kept in (state, restored):
        assert kept.user_ids.tolist() == ["ann", "bob", "cy"]
        same_vectors(encoder, encoder.update_state(kept, new), whole)
        same_vectors(encoder, encoder.merge_states(kept, encoder.make_state(new)), whole)
        same_vectors(encoder, encoder.update_state(kept, [[3], [], [5]]), whole)


@pytest.mark.parametrize(
    ("user_ids", "message"),
    [
        (["bob", "ann", "dan"], "'dan' has no state.*make_state"),
        (["bob", "dan"], "no row for 1 of the 2 users, such as 'ann'"),
    ],
)
def test_new_events_of_other_users_are_refused(user_ids, message):
    encoder = DecayAverageUserEncoder(ITEMS).fit([[0, 1]])
    state = encoder.make_state(of_users([[0], [1]], ["ann", "bob"]))
    with pytest.raises(ValueError, match=message):
        encoder.update_state(state, of_users([[3]] * len(user_ids), user_ids))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (DecayAverageUserEncoder(ITEMS, max_history=5), r"max_history=5.*Set max_history=None"),
        (MixedUserEncoder(ITEMS, repeat_exponent=0.5), r"repeat_exponent=0\.5.*repeat_exponent=1"),
    ],
    ids=["max-history", "repeats"],
)
def test_options_that_need_the_events_raise(encoder, message):
    with pytest.raises(ValueError, match=message):
        encoder.fit([[0, 1]]).make_state([[0]])


def test_the_state_of_another_encoder_raises_and_names_both():
    one = DecayAverageUserEncoder(ITEMS).fit([[0, 1]])
    other = DecayAverageUserEncoder(ITEMS, decay=0.5).fit([[0, 1]])
    state = one.make_state([[0]])
    for use in (other.transform_state, lambda s: other.update_state(s, [[0]])):
        with pytest.raises(ValueError, match=f"{one.encoder_id_}'.*'{other.encoder_id_}"):
            use(state)


def test_states_of_sixty_years_do_not_underflow():
    encoder = DecayAverageUserEncoder(ITEMS, age_unit="D", decay=0.03)
    encoder.fit(batch([[(0, 1, 1.0)]]))
    state = encoder.make_state(batch([[(0, 0, 1.0)]]))
    years = 60 * 365 * 86400
    state = encoder.update_state(state, batch([[(1, years, 0.0)]]))
    found = same_vectors(encoder, state, batch([[(0, 0, 1.0), (1, years, 0.0)]]))
    np.testing.assert_allclose(found[0], ITEMS.vectors[0], atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(users, encoders, st.sampled_from(["step", "instant", "D"]))
def test_states_round_trip_through_bytes_and_rows(events, encoder, unit):
    encoder.set_params(age_unit=unit).fit(batch([[(0, 1, 1.0)]]))
    state = encoder.make_state(batch(events))
    parts = [UserStates.from_bytes(state[row].to_bytes()) for row in range(len(state))]
    for joined in (UserStates.concatenate(parts), UserStates.from_bytes(state.to_bytes())):
        assert joined.encoder_id == encoder.encoder_id_
        for found, expected in zip(joined.columns, state.columns, strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    after = encoder.update_state(
        UserStates.concatenate(parts), batch([[(0, 99, 1.0)]] * len(state))
    )
    assert (after.n_events == state.n_events + 1).all()


def test_states_are_indexed_like_histories():
    encoder = DecayAverageUserEncoder(ITEMS).fit([[0, 1]])
    lists = [[0], [1], [2], [3]]
    state, vectors = encoder.make_state(lists), encoder.transform(lists)
    for key in (slice(1, 3), [3, 0], np.array([True, False, True, False])):
        np.testing.assert_array_equal(encoder.transform_state(state[key]), vectors[key])
    np.testing.assert_array_equal(encoder.transform_state(state[-1]), vectors[-1:])
    with pytest.raises(IndexError):
        state[4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:40] + b"x" + data[41:], "damaged"),
        (lambda data: b"", "does not contain user states of this version"),
        (lambda data: data[:5] + b"9" + data[6:], "does not contain user states of this version"),
    ],
    ids=["altered", "empty", "newer"],
)
def test_damaged_bytes_raise(change, message):
    encoder = DecayAverageUserEncoder(ITEMS).fit([[0, 1]])
    data = encoder.make_state([[0]]).to_bytes()
    with pytest.raises(ValueError, match=message):
        UserStates.from_bytes(change(data))


def test_states_of_two_encoders_cannot_be_concatenated():
    states = [DecayAverageUserEncoder(ITEMS, decay=d).fit([[0]]).make_state([[0]]) for d in (0, 1)]
    with pytest.raises(ValueError, match="must be from the same encoder"):
        UserStates.concatenate(states)


def test_chunks_of_users_give_the_same_states():
    rng = np.random.default_rng(0)
    lists = [rng.integers(6, size=rng.integers(0, 5)).tolist() for _ in range(4500)]
    encoder = MixedUserEncoder(ITEMS).fit(lists[:100])
    state = encoder.update_state(encoder.make_state(lists), lists)
    same_vectors(encoder, state, [row + row for row in lists])


def test_a_refitted_encoder_rejects_earlier_states():
    encoder = DecayAverageUserEncoder(ITEMS).fit([[0, 1]])
    state = encoder.make_state([[0]])
    encoder.update_state(state, [[1]])
    encoder.set_params(decay=0.5)
    with pytest.raises(ValueError, match="state was made by encoder"):
        encoder.update_state(state, [[1]])
    encoder.set_params(decay=0.07).fit([[2]])
    with pytest.raises(ValueError, match="state was made by encoder"):
        encoder.update_state(state, [[1]])
