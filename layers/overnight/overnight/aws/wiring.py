"""Builds the engine on AWS: the only place that knows which adapter fills which port.

    ENGINE = wiring.open_engine()                        # once, when a function's module is imported
    ENGINE.ports                                         # api, webhook, declare: the core's own verbs
    ENGINE.ring(Alarm.model_validate(event))             # tick, called by Scheduler
    ENGINE.fire(Fire.model_validate_json(record.body))   # tick, from the fire queue
    ENGINE.run(Message.model_validate_json(record.body), remaining_seconds)   # runner, from run and retry queue
    ENGINE.watch(remaining_seconds)                      # watchdog, every minute
    ENGINE.take_event(event)                             # events: from the events queue, or the bus
    ENGINE.ensure_master_key()                           # declare, at every deployment
    ENGINE.logger, ENGINE.metrics                        # Powertools, for the handlers' decorators
"""
