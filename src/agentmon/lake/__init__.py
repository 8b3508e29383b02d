"""DuckDB readers of the Delta tables; never Spark."""
