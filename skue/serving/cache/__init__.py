"""A cache of user vectors over a store of bytes."""

from skue.serving.cache._cache import UserVectorCache
from skue.serving.cache._stores import LMDBStore, RedisStore

__all__ = ["LMDBStore", "RedisStore", "UserVectorCache"]
