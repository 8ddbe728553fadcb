//! S3-compatible stores.
use crate::{Error, Op, Reply};
#[derive(Debug)]
pub struct S3;
impl S3 {
    pub(crate) async fn run(&self, _op: Op) -> Result<Reply, Error> {
        Err(Error::new(crate::Kind::Invalid, ""))
    }
}
