"""Pure functions on arrays: pooling, ranking, counting. They know nothing of estimators."""
