"""Imported by the process from which workers for Langflow flows are forked: lfx, ahead of need."""

import contextlib
import gc

from overnight.flows.ready import preload

# Whatever is wrong is told by the attempt that needs it; here it would end the process that workers come from.
with contextlib.suppress(Exception):
    preload()
# What was imported stays: workers need neither look for garbage in it nor copy its pages.
gc.collect()
gc.freeze()
