"""A run while it goes on, seen from its files alone: they may lie on another machine's disk.

- `following`: what the files of a run say by now, read on from where they were read to.
- `sparkline`: a series against its target in a line of blocks.
- `terminal`: a run as a block that renews itself, or as lines where there is no terminal.
- `page`: the report of a run, renewed and served to a browser of this machine.
"""
