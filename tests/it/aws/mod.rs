//! S3 and DynamoDB, as a real server of their APIs answers: moto.

mod archive;
mod checkpoint;
mod lake;
mod objects;
pub(crate) mod place;
mod refusals;
