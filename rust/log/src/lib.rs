//! The log cache, the object format and the block cache.
