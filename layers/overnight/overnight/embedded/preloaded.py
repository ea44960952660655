"""Imported by the process from which workers for Langflow flows are forked: lfx, ahead of need."""

import contextlib

from overnight.flows.ready import preload

# Whatever is wrong is told by the attempt that needs it; here it would end the process that workers come from.
with contextlib.suppress(Exception):
    preload()
