"""`make bench`: what Overnight does on this machine, beside a peer with the same durability."""
