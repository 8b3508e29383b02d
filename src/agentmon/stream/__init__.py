"""Spark only: source → parse → batch → tables, and the queries made of them."""
