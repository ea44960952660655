import threading
from dataclasses import replace
from datetime import timedelta

from overnight.executions import Event, Pending
from overnight.ports import Delivery


def _event(world, name="1", **fields):
    return Event(id=name, name="dataset.created", at=world.now(), data={"size": 1}, **fields)


def test_an_event_is_pending_until_it_is_fanned_out(world):
    event = _event(world)
    assert world.store.put_event(event)
    assert world.opened.woken
    assert world.store.pending_events(world.now(), 10) == [Pending(**dict(event))]
    assert world.store.event(event.id) == Pending(**dict(event))
    world.store.event_done(event.id)
    assert world.store.pending_events(world.now(), 10) == []
    assert world.store.event(event.id) == Pending(**dict(event), done=True)
    assert world.store.event("another") is None


def test_how_far_an_event_has_come_is_kept_until_it_is_due_again(world):
    event = _event(world)
    world.store.put_event(event)
    begun = Pending(**dict(event), after="c", refused=("a", "b"))
    world.store.put_off_event(begun, world.now() + timedelta(minutes=1))
    assert world.store.event(event.id) == begun
    assert world.store.pending_events(world.now(), 10) == []
    world.now.pass_(minutes=1)
    assert world.store.pending_events(world.now(), 10) == [begun]


def test_an_event_that_is_done_stays_so(world):
    event = _event(world)
    world.store.put_event(event)
    world.store.event_done(event.id)
    world.store.put_off_event(Pending(**dict(event)), world.now())
    assert world.store.pending_events(world.now(), 10) == []


def test_an_event_that_is_put_off_lets_others_come_first(world):
    for name in "ab":
        world.store.put_event(_event(world, name))
    world.store.put_off_event(Pending(**dict(_event(world, "a"))), world.now() + timedelta(seconds=1))
    world.now.pass_(seconds=1)
    assert [event.id for event in world.store.pending_events(world.now(), 10)] == ["b", "a"]


def test_events_come_in_the_order_in_which_they_were_put(world):
    for name in ("b", "c", "a"):
        world.store.put_event(_event(world, name))
    assert [event.id for event in world.store.pending_events(world.now(), 2)] == ["b", "c"]


def test_an_event_is_taken_once_also_after_it_was_fanned_out(world):
    event = _event(world)
    assert world.store.put_event(event)
    assert not world.store.put_event(event)
    world.store.event_done(event.id)
    assert not world.store.put_event(event)
    assert world.store.pending_events(world.now(), 10) == []


def test_of_many_that_send_the_same_event_at_once_one_is_first(world):
    barrier, first = threading.Barrier(8), []

    def put():
        barrier.wait()
        first.append(world.store.put_event(_event(world)))

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(first) == [False] * 7 + [True]


def test_the_id_of_an_event_is_known_for_seven_days_and_one_that_is_pending_is_never_forgotten(world):
    world.store.put_event(_event(world, "done"))
    world.store.put_event(_event(world, "pending"))
    world.store.event_done("done")
    world.now.pass_(days=6, hours=23)
    assert world.store.prune(world.now(), 100) == 0
    assert not world.store.put_event(_event(world, "done"))
    world.now.pass_(hours=1)
    assert world.store.prune(world.now(), 100) == 1
    assert world.store.put_event(_event(world, "done"))
    assert [event.id for event in world.store.pending_events(world.now(), 10)] == ["pending", "done"]


def _delivery(world, name="1", **fields):
    given = {"agent_id": "a", "execution_id": "e", "url": "https://example.com", "body": "{}"}
    return Delivery(id=name, created_at=world.now(), due=world.now(), **given | fields)


def test_a_delivery_is_due_until_it_is_delivered(world):
    delivery = _delivery(world)
    world.store.put_delivery(delivery)
    assert world.opened.woken
    assert world.store.due_deliveries(world.now(), 10) == [delivery]
    later = replace(delivery, tries=1, due=world.now() + timedelta(minutes=1), error="503")
    world.store.put_delivery(later)
    assert world.store.due_deliveries(world.now(), 10) == []
    world.now.pass_(minutes=1)
    assert world.store.due_deliveries(world.now(), 10) == [later]
    delivered = replace(later, tries=2, due=None, status="delivered", error=None)
    world.store.put_delivery(delivered)
    assert world.store.due_deliveries(world.now(), 10) == []
    assert world.store.deliveries("a") == [delivered]


def test_the_same_delivery_again_is_ignored_once_it_is_known(world):
    delivered = replace(_delivery(world), tries=1, due=None, status="delivered")
    world.store.put_delivery(_delivery(world))
    world.store.put_delivery(delivered)
    world.store.put_delivery(_delivery(world))
    assert world.store.deliveries("a") == [delivered]


def test_deliveries_are_listed_newest_first_and_due_ones_oldest_first(world):
    for name in ("1", "2", "3"):
        world.store.put_delivery(_delivery(world, name))
        world.now.pass_(seconds=1)
    world.store.put_delivery(_delivery(world, "4", agent_id="b"))
    assert [one.id for one in world.store.deliveries("a", 2)] == ["3", "2"]
    assert [one.id for one in world.store.due_deliveries(world.now(), 3)] == ["1", "2", "3"]
