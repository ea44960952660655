"""Verify: prove from the records that nothing was lost, doubled or left stuck.

The ticks of every armed period are computed again and compared with the ledger, and every execution that is not
terminal must be reachable: from its agent's running set, from its line, or by a due time of its own.

    hole          a tick of an armed period without a record
    double        a tick with more than one record
    stray         a record of an instant that is no tick of any armed period
    unverifiable  armed under another release of tzdata, and the records don't prove themselves by naming each other
    unreachable   an execution that nothing will ever carry on
    twofold       an execution that is reachable in two ways at once
    stuck         something that was due, and that nobody did in time

It is a walk in pages, each of which takes little time and memory, over any number of agents, executions and ticks.
"""

from overnight.core.verify.findings import Finding, Report
from overnight.core.verify.walk import SETTLING, verify, verify_page

__all__ = ["SETTLING", "Finding", "Report", "verify", "verify_page"]
