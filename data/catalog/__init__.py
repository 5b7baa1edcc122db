"""What there is: the images and classes of a folder, of shards, of an archive, and the data sets that are known."""
