"""The study of the paper's five settings: calibrators against each other, over seeds.

`study` says what is run, `runner` runs it, `measuring` judges each run, `tables` writes the
CSV files and the table, and `figures` draws from the CSV files alone.
"""
