"""A result as people read it: one record of tables, plots and pictures, written as HTML, Markdown and JSON."""
