"""The streaming job: source → parse → batch → tables, and the query made of them."""
