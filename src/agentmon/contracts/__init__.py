"""What every part agrees on: topics, tables, and what a message means. Plain Python, imports nothing of ours."""
