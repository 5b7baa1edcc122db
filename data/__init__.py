"""Images into batches: data sets are made, checked, packed, planned and loaded here."""
