"""What a loader would read of a lake."""
