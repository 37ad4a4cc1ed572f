//! The only source of randomness: nonces, identities, jitter.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// Gives random numbers. The simulator gives a seeded one.
pub trait Randomness: Send + Sync {
    /// 64 random bits.
    fn next_u64(&self) -> u64;

    /// 128 random bits as 32 hexadecimal digits: a nonce.
    fn nonce(&self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }
}

/// A generator seeded by the operating system, or by hand.
pub struct Generator(Mutex<StdRng>);

impl Generator {
    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }
    /// Seeded by hand: the same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Randomness for Generator {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next_u64()
    }
}
