//! The image's large tables as columns: partitions, streams, ranges, objects.
