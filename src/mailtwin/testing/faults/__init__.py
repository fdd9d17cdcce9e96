"""Any synchroniser against real servers on bad days: what is lost, doubled, altered or stuck afterwards.

`python -m mailtwin.testing.faults` runs scenarios (files in `scenarios/`, or one's own) with each tool against each
server and prints one table; docs/faults.md tells how to read it and how to add a tool. In reading order: `sides`
(both stores, as another program sees them), `tools`, `audit`, `trial`, `table`.
"""
