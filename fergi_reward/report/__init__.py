"""A result as people read it: one record of tables, plots and pictures, written in several forms.

- `record.py`: what a report holds; `write.py`: writes all of it into a folder.
- `markdown.py`, `page.py` with `svg.py`, `plots.py` and `pictures.py`, `table_files.py`: the forms.
- `provenance.py`: versions, machine and fingerprints.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.report.record import Column as Column
    from fergi_reward.report.record import Estimate as Estimate
    from fergi_reward.report.record import HeatMap as HeatMap
    from fergi_reward.report.record import ImageGrid as ImageGrid
    from fergi_reward.report.record import IntervalPlot as IntervalPlot
    from fergi_reward.report.record import Line as Line
    from fergi_reward.report.record import LinePlot as LinePlot
    from fergi_reward.report.record import Report as Report
    from fergi_reward.report.record import Section as Section
    from fergi_reward.report.record import Table as Table
    from fergi_reward.report.write import write_report as write_report

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Column": "record",
        "Estimate": "record",
        "HeatMap": "record",
        "ImageGrid": "record",
        "IntervalPlot": "record",
        "Line": "record",
        "LinePlot": "record",
        "Report": "record",
        "Section": "record",
        "Table": "record",
        "write_report": "write",
    },
)
