"""Webhooks' addresses: found by their id, kept with their agent, and never set back."""

from datetime import timedelta

import pytest

from overnight.errors import HookNotFound
from overnight.ports import Hook
from overnight.webhooks import hook_id

WEBHOOK = {"name": "in", "webhook": {}}


def test_a_webhook_is_found_by_its_id(world):
    agent = world.agent(triggers=[WEBHOOK, {"name": "other", "webhook": {}}, {"name": "daily", "cron": "@daily"}])
    for name in ("in", "other"):
        id_ = hook_id(agent.id, name)
        assert world.store.hook(id_) == Hook(id_, agent.id, name, version=1, previous_until=None)
    assert world.store.hook(hook_id(agent.id, "daily")) is None
    assert world.store.hook("0" * 32) is None


def test_an_edit_adds_webhooks_and_touches_no_other(world):
    agent = world.agent(triggers=[WEBHOOK])
    world.edit(agent, version=2, document=world.document(triggers=[WEBHOOK, {"name": "new", "webhook": {}}]))
    assert world.store.hook(hook_id(agent.id, "new")).trigger == "new"
    assert world.store.hook(hook_id(agent.id, "in")).version == 1


def test_a_rotation_holds_though_its_trigger_goes_and_comes_back(world):
    """Else a secret that was rotated away because it leaked would be valid again."""
    agent = world.agent(triggers=[WEBHOOK])
    id_, until = hook_id(agent.id, "in"), world.now() + timedelta(hours=1)
    rotated = world.store.rekey(id_, lambda hook: Hook(hook.id, hook.agent_id, hook.trigger, hook.version + 1, until))
    assert rotated == world.store.hook(id_) == Hook(id_, agent.id, "in", 2, until)

    agent = world.edit(agent, version=2, document=world.document())
    world.edit(agent, version=3, document=world.document(triggers=[WEBHOOK]))
    assert world.store.hook(id_) == rotated
    if world.kind.durable:
        world.restart()
        assert world.store.hook(id_) == rotated


def test_a_webhook_that_is_not_there_can_not_be_rotated(world):
    with pytest.raises(HookNotFound):
        world.store.rekey("0" * 32, lambda hook: hook)


def test_a_webhook_is_forgotten_with_its_agent(world):
    agent = world.agent(triggers=[WEBHOOK])
    world.edit(agent, deleted_at=world.now())
    assert world.store.hook(hook_id(agent.id, "in")) is not None
    world.store.forget_agent(agent.id)
    assert world.store.hook(hook_id(agent.id, "in")) is None
