"""Human judgements in files of any kind, read into `Judgements`.

- `read.py`: a file or a folder -> judgements, and what was understood of it.
- `tables.py`: CSV, Parquet, JSON, JSON lines, a folder of `datasets` -> a table.
- `columns.py`: which column has which role, by its name; `options.py`: options that name them.
- `ratings.py`: ratings and ranks, one picture per row; `rankings.py`: several pictures per row; `pairs.py`: two.
"""
