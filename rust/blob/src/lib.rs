//! Object stores: S3-compatible ones by the `object_store` crate, and a local directory.
