"""Plan how a loader would read a lake."""
