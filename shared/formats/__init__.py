"""Files of rows: CSV, JSON Lines and Parquet, read strictly and written as rows come."""
