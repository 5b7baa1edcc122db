"""A data set becomes tar shards."""
