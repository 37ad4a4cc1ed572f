//! A small model of the record, checked over every order of events: two owners, three epochs, swaps
//! that arrive late, twice or never, crashes, and a sweep at any moment.
//!
//! The simulator runs the real code over some orders; the model runs the bare rules over all.

use std::collections::{BTreeSet, HashSet, VecDeque};

const EPOCHS: u8 = 3;
/// Fences in all: enough for each owner to take the partition from the other and once more.
const TOKENS: u8 = 3;
/// Swaps that one owner sends in all.
const WRITES: u8 = 4;

/// A file: the token it was written under and the epoch it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct File {
    token: u8,
    epoch: u8,
    owner: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Rec {
    seq: u8,
    /// Who wrote it, and which of its writes: as good as a nonce.
    nonce: (u8, u8),
    token: u8,
    next: u8,
    pending: Option<File>,
}

/// A swap on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Swap {
    old: (u8, (u8, u8)),
    new: Rec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// Has loaded the record and sent its fence.
    Fencing(Swap),
    Recovering(Rec),
    /// Holds the record, the last epoch published.
    Running(Rec),
    /// Has staged a file and sent its prepare.
    Preparing(Swap, Rec),
    /// Its prepare stands; the file is not published yet.
    Publishing(Rec),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Whole {
    record: Rec,
    owners: [Phase; 2],
    writes: [u8; 2],
    network: BTreeSet<Swap>,
    staged: BTreeSet<File>,
    visible: BTreeSet<File>,
    crashes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Fence(u8),
    /// A swap arrives: late, once more, or (where it is never chosen) not at all.
    Arrive(Swap),
    /// The owner reads the record again after an unclear answer.
    Reread(u8),
    Recover(u8),
    Prepare(u8),
    Publish(u8),
    Crash(u8),
    Sweep(File),
}

/// The rules, and the ways to break them.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    sequence_only: bool,
    sweep_by_age: bool,
    recover_ignores_pending: bool,
}

impl Rules {
    fn is_ours(self, found: &Rec, ours: &Rec) -> bool {
        found.nonce == ours.nonce || (self.sequence_only && found.seq == ours.seq)
    }
}

fn place(record: &Rec) -> (u8, (u8, u8)) {
    (record.seq, record.nonce)
}

impl Whole {
    fn next_write(&mut self, owner: u8) -> (u8, u8) {
        let count = &mut self.writes[owner as usize];
        *count += 1;
        (owner, *count)
    }

    fn publish(&mut self, file: File) {
        if self.staged.remove(&file) {
            self.visible.insert(file);
        }
    }
}

impl Rules {
    fn beginning() -> Whole {
        Whole {
            record: Rec { seq: 0, nonce: (9, 0), token: 0, next: 0, pending: None },
            owners: [Phase::Idle; 2],
            writes: [0; 2],
            network: BTreeSet::new(),
            staged: BTreeSet::new(),
            visible: BTreeSet::new(),
            crashes: 0,
        }
    }

    fn actions(self, state: &Whole) -> Vec<Action> {
        let mut actions = Vec::new();
        for owner in 0..2u8 {
            match state.owners[owner as usize] {
                Phase::Idle
                    if state.record.token < TOKENS && state.writes[owner as usize] < WRITES =>
                {
                    actions.push(Action::Fence(owner))
                }
                Phase::Fencing(_) | Phase::Preparing(..) => actions.push(Action::Reread(owner)),
                Phase::Recovering(_) => actions.push(Action::Recover(owner)),
                Phase::Running(record)
                    if record.next < EPOCHS && state.writes[owner as usize] < WRITES =>
                {
                    actions.push(Action::Prepare(owner));
                }
                Phase::Publishing(_) => actions.push(Action::Publish(owner)),
                Phase::Idle | Phase::Running(_) => {}
            }
            // A crash at any moment; dying before the first swap is sent changes nothing.
            if state.crashes < 1 && state.owners[owner as usize] != Phase::Idle {
                actions.push(Action::Crash(owner));
            }
        }
        for swap in &state.network {
            actions.push(Action::Arrive(*swap));
        }
        for file in &state.staged {
            let named = state.record.pending == Some(*file);
            if self.sweep_by_age || (file.token < state.record.token && !named) {
                actions.push(Action::Sweep(*file));
            }
        }
        actions
    }

    fn next_state(self, last: &Whole, action: Action) -> Option<Whole> {
        let mut state = last.clone();
        match action {
            Action::Fence(owner) => {
                let nonce = state.next_write(owner);
                let mut new = Rec { seq: state.record.seq + 1, nonce, ..state.record };
                new.token += 1;
                let swap = Swap { old: place(&state.record), new };
                state.network.insert(swap);
                state.owners[owner as usize] = Phase::Fencing(swap);
            }
            Action::Arrive(swap) => {
                if place(&state.record) != swap.old {
                    // It can never succeed any more.
                    state.network.remove(&swap);
                    return Some(state);
                }
                state.record = swap.new;
                // What can never succeed any more need not be followed.
                state.network.retain(|swap| swap.old.0 >= state.record.seq);
            }
            Action::Reread(owner) => {
                let (swap, after) = match state.owners[owner as usize] {
                    Phase::Fencing(swap) => (swap, Phase::Recovering(swap.new)),
                    Phase::Preparing(swap, _) => (swap, Phase::Publishing(swap.new)),
                    _ => return None,
                };
                if self.is_ours(&state.record, &swap.new) {
                    state.owners[owner as usize] = after;
                } else if place(&state.record) == swap.old {
                    // Unchanged: the same bytes go out again, and are on their way already.
                    return None;
                } else {
                    state.owners[owner as usize] = Phase::Idle;
                }
            }
            Action::Recover(owner) => {
                let Phase::Recovering(record) = state.owners[owner as usize] else { return None };
                if let Some(file) = record.pending.filter(|_| !self.recover_ignores_pending) {
                    state.publish(file);
                }
                state.owners[owner as usize] = Phase::Running(record);
            }
            Action::Prepare(owner) => {
                let Phase::Running(record) = state.owners[owner as usize] else { return None };
                let nonce = state.next_write(owner);
                let file = File { token: record.token, epoch: record.next, owner };
                state.staged.insert(file);
                let new = Rec {
                    seq: record.seq + 1,
                    nonce,
                    token: record.token,
                    next: record.next + 1,
                    pending: Some(file),
                };
                let swap = Swap { old: place(&record), new };
                state.network.insert(swap);
                state.owners[owner as usize] = Phase::Preparing(swap, record);
            }
            Action::Publish(owner) => {
                let Phase::Publishing(record) = state.owners[owner as usize] else { return None };
                if let Some(file) = record.pending {
                    state.publish(file);
                }
                state.owners[owner as usize] = Phase::Running(record);
            }
            Action::Crash(owner) => {
                state.owners[owner as usize] = Phase::Idle;
                state.crashes += 1;
            }
            Action::Sweep(file) => {
                state.staged.remove(&file);
            }
        }
        Some(state)
    }
}

/// The first broken promise of a state.
fn broken(state: &Whole) -> Option<&'static str> {
    let epochs: BTreeSet<u8> = state.visible.iter().map(|file| file.epoch).collect();
    if epochs.len() != state.visible.len() {
        return Some("an epoch is visible twice");
    }
    let done = (0..state.record.next).all(|epoch| {
        let named = state
            .record
            .pending
            .is_some_and(|file| file.epoch == epoch && state.staged.contains(&file));
        epochs.contains(&epoch) || named
    });
    if !done {
        return Some("an epoch is lost");
    }
    if epochs.iter().any(|epoch| *epoch >= state.record.next) {
        return Some("an epoch is visible before it is prepared");
    }
    None
}

struct Explored {
    states: usize,
    broken: Option<&'static str>,
    /// Some order gets every epoch done.
    finishes: bool,
}

/// Every state that any order of events can reach, breadth first.
fn explore(rules: Rules) -> Explored {
    let first = Rules::beginning();
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    let mut finishes = false;
    while let Some(state) = queue.pop_front() {
        if let Some(broken) = broken(&state) {
            return Explored { states: seen.len(), broken: Some(broken), finishes };
        }
        finishes |= state.record.next == EPOCHS && state.visible.len() == usize::from(EPOCHS);
        for action in rules.actions(&state) {
            if let Some(next) = rules.next_state(&state, action)
                && seen.insert(next.clone())
            {
                queue.push_back(next);
            }
        }
    }
    Explored { states: seen.len(), broken: None, finishes }
}

#[test]
fn the_rules_hold_in_every_order() {
    let explored = explore(Rules::default());
    println!("{} states", explored.states);
    assert_eq!(explored.broken, None);
    assert!(explored.finishes);
}

#[test]
fn each_broken_rule_has_a_counterexample() {
    for rules in [
        Rules { sequence_only: true, ..Rules::default() },
        Rules { sweep_by_age: true, ..Rules::default() },
        Rules { recover_ignores_pending: true, ..Rules::default() },
    ] {
        assert!(explore(rules).broken.is_some(), "{rules:?} went unnoticed");
    }
}
