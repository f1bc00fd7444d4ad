"""Items: their features, and their vectors, which are given or learned from co-occurrence."""
