"""A cold start does not look for garbage: what it imports stays, and to look takes a tenth of its time.

A handler imports `imported` before all else, and calls it when it has everything.
"""

import gc

__all__ = ["imported"]

gc.disable()


def imported() -> None:
    """What there is by now is never looked at again; what is made from now on is collected as always."""
    if not gc.isenabled():  # once for each process, however many functions are tried in it
        gc.freeze()
        gc.enable()
