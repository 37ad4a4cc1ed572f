//! Kafka topics on a real broker, read by the real program.

mod broker;
mod reading;
