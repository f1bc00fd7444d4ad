"""Files and frames to checked columns: delimited text, Parquet, column names, dates, ids."""
