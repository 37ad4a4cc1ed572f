//! How many requests are under way at once: as many as the cluster takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Halves when the cluster says that it has too much to do, and grows by one with each request that
/// it takes while all places are in use, up to what is configured.
#[derive(Debug)]
pub(super) struct Limit {
    places: Arc<Semaphore>,
    most: u32,
    /// Places that exist, taken ones included.
    now: AtomicU32,
    /// Places that are to go as soon as they come back.
    debt: AtomicU32,
}

/// One request may be under way while this is held.
pub(super) struct Place {
    limit: Arc<Limit>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limit {
    pub(super) fn new(most: u16) -> Self {
        let most = u32::from(most.max(1));
        Self {
            places: Arc::new(Semaphore::new(most as usize)),
            most,
            now: AtomicU32::new(most),
            debt: AtomicU32::new(0),
        }
    }

    /// Wait for a place.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        // The semaphore is never closed.
        Place { limit: self.clone(), permit: self.places.clone().acquire_owned().await.ok() }
    }

    /// The cluster took a request.
    pub(super) fn taken(&self) {
        let grows = |now: u32| (now < self.most).then_some(now + 1);
        if self.places.available_permits() == 0
            && self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grows).is_ok()
        {
            self.places.add_permits(1);
        }
    }

    /// The cluster has too much to do.
    pub(super) fn overloaded(&self) {
        let halves = |now: u32| (now > 1).then_some(now.div_ceil(2));
        let before = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halves);
        if let Ok(before) = before {
            self.debt.fetch_add(before - before.div_ceil(2), Ordering::Relaxed);
        }
    }

    /// Places that exist.
    #[cfg(test)]
    pub(super) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let pays = |debt: u32| debt.checked_sub(1);
        let debt = &self.limit.debt;
        if debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pays).is_ok() {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_halves_and_grows_again() {
        let limit = Arc::new(Limit::new(4));
        let held = [limit.place().await, limit.place().await, limit.place().await];
        limit.overloaded();
        limit.overloaded();
        limit.overloaded();
        assert_eq!(limit.now(), 1);
        drop(held);
        let one = limit.place().await;
        assert_eq!(limit.places.available_permits(), 0, "three places are gone");
        limit.taken();
        assert_eq!((limit.now(), limit.places.available_permits()), (2, 1));
        limit.taken();
        assert_eq!(limit.now(), 2, "a place is free: more are not needed");
        drop(one);
        assert_eq!(limit.places.available_permits(), 2);
    }
}
