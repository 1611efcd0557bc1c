"""The report of one or several runs: numbers, words and figures, as one HTML file or as Markdown.

- `facts`: everything that the folder of a run says, read and nothing else.
- `words`: what the numbers mean and what limits them, in sentences.
- `figures`: what interactive figures consist of, as the plain mappings that Plotly draws.
- `document`: what a report consists of: sections of texts, tables and figures.
- `evidence`, `history`, `particles`, `equilibrium`, `card`, `comparison`: the sections.
- `sections`: which of them there are, in which order.
- `rendering`: a document as HTML or as Markdown; nothing else knows of either.
- `writing`: all of it, from the folders of runs to the files.
"""
