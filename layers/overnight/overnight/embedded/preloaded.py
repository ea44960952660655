"""Imported by the process from which workers for Langflow flows are forked: lfx, ahead of need."""

from overnight.flows.ready import preload

preload()
