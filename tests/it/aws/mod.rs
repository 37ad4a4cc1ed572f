//! S3 and DynamoDB, as a real server of their APIs answers: moto.

mod checkpoint;
mod lake;
pub(crate) mod place;
mod refusals;
