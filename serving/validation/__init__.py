"""validation: whether another way of serving is faster, and whether it says the same."""
