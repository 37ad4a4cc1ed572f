//! A power failure: every process dies at once, and what was not made durable is gone.
//!
//! The processes, their checkpoint store and their files lie on one machine, as in a run without
//! servers. The documents of the versioned sink lie elsewhere and stay.

use super::checker;
use super::files;
use super::world::World;
use crate::component::checkpoint::Key;

/// Take the power away.
pub(super) fn fail(world: &World) {
    world.note(|| "the power fails".to_owned());
    {
        let mut state = world.state();
        let state = &mut *state;
        state.power_losses += 1;
        for member in state.members.values_mut().filter(|member| member.alive) {
            (member.alive, member.mishap) = (false, true);
        }
        for (key, before) in std::mem::take(&mut state.unsynced) {
            let seq = before.as_ref().map_or(0, |stored| stored.revision.seq);
            world.store.put_back(&key, before);
            let Key::Record(partition) = key else { continue };
            if let Some(versions) = state.history.get_mut(&partition) {
                versions.retain(|written| written.seq <= seq);
            }
        }
        let named = state.history.values().flatten().filter_map(|written| {
            let pending = written.record.pending.as_ref()?;
            Some(pending.files.iter().map(|file| file.nonce.clone()))
        });
        state.named = named.flatten().collect();
    }
    for staging in world.stagings() {
        staging.files().lose_power();
    }
    files::note_what_is_left(world);
    checker::named_files_are_there(world, "I5: the power failed and");
    world.changed.notify_waiters();
}
