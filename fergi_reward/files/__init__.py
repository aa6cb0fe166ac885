"""Files that people and other programs wrote, read strictly; and files of ours, written whole, known by content."""
