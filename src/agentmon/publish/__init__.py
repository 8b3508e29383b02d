"""What runs inside somebody's agent, or beside it, and puts messages on agent.*: never in the way, nothing lost."""
