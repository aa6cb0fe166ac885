"""Statistics of pairs and pictures: intervals, tests, agreement, coverage, diversity. Arrays in, numbers out."""
