"""The report of one or several runs: numbers, words and figures, as one HTML file or as Markdown.

- `facts`: everything that the folder of a run says, read and nothing else.
- `words`, `limits`: what the numbers mean, in sentences.
- `figures`: interactive pictures, as the plain mappings that Plotly draws.
- `document`: what a report consists of: sections of texts, tables and figures.
- `sections`, `evidence`, `card`: which sections there are.
- `rendering`: a document as HTML or as Markdown; nothing else knows of either.
"""
