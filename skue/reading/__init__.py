"""Files and frames, read into checked columns."""
