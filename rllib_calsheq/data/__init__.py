"""Files that a user writes or brings: experiments, targets, tables of transactions."""
