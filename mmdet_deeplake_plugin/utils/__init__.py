"""General helpers that know neither detection nor Deep Lake."""
