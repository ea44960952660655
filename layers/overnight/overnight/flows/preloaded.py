"""Importing this module is `preload()`: all that multiprocessing's forkserver can do ahead of need is import modules.

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["overnight.flows.preloaded"])
"""

import contextlib

from overnight.flows.ready import preload

# The fork server must live: what is missing or broken is said by the first flow that needs it.
with contextlib.suppress(Exception):
    preload()
