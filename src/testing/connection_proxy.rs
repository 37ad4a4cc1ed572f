//! A proxy between a client and any server that spoils connections as networks do: what passes comes
//! late, in drops or by halves, and connections stall or are reset. It knows nothing of what is said.
//!
//! A broker that is to be behind one must tell its clients the proxy's address for its own.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::listener::Listener;
use crate::randomness::{Generator, Randomness as _};

/// What happens to one piece of what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoiled {
    /// It comes 5 to 150 ms late.
    Late,
    /// It comes in drops.
    Dribble,
    /// Half of it comes, then the connection is reset.
    Half,
    /// The connection is reset.
    Reset,
    /// Nothing passes for one to three seconds.
    Stall,
}

const WAYS: [Spoiled; 5] =
    [Spoiled::Late, Spoiled::Dribble, Spoiled::Half, Spoiled::Reset, Spoiled::Stall];

/// Most bytes that pass at once.
const PIECE_BYTES: usize = 16 << 10;
const DROP_BYTES: usize = 256;

struct State {
    upstream: SocketAddr,
    random: Generator,
    /// Pieces of a thousand that are spoiled.
    per_mille: AtomicU64,
    counts: Mutex<BTreeMap<Spoiled, u32>>,
}

/// The proxy; it ends when this is dropped.
pub struct ConnectionProxy {
    listener: Listener,
    state: Arc<State>,
}

impl ConnectionProxy {
    /// A proxy on a free port of the loopback interface before `upstream`, where nobody need listen
    /// yet. It spoils nothing before it is told.
    pub fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let state = Arc::new(State {
            upstream,
            random: Generator::seeded(seed),
            per_mille: AtomicU64::new(0),
            counts: Mutex::default(),
        });
        let shared = state.clone();
        let listener = Listener::start(move |client| {
            let state = shared.clone();
            async move { converse(client, &state).await }
        })?;
        Ok(Self { listener, state })
    }

    /// The port that clients are told.
    pub fn port(&self) -> u16 {
        self.listener.address.port()
    }

    /// From now on spoil so many pieces of a thousand; 0 heals everything.
    pub fn spoil(&self, per_mille: u64) {
        self.state.per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// How often each came so far.
    pub fn counts(&self) -> BTreeMap<Spoiled, u32> {
        self.state.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    /// What happens to the next piece, and a random number for the details.
    fn draw(&self) -> (Option<Spoiled>, u64) {
        let (roll, detail) = (self.random.next_u64() % 1000, self.random.next_u64());
        if roll >= self.per_mille.load(Ordering::Relaxed) {
            return (None, detail);
        }
        let chosen = usize::try_from(detail % WAYS.len() as u64).unwrap_or_default();
        let way = WAYS.get(chosen).copied();
        if let Some(way) = way {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(way).or_default() += 1;
        }
        (way, detail >> 8)
    }
}

async fn converse(mut client: TcpStream, state: &State) -> io::Result<()> {
    let Ok(mut server) = TcpStream::connect(state.upstream).await else {
        return client.set_zero_linger();
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let (piece, to) = tokio::select! {
            length = client.read(&mut up) => (up.get(..length?), &mut server),
            length = server.read(&mut down) => (down.get(..length?), &mut client),
        };
        let piece = piece.unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        if !pass(piece, to, state).await? {
            client.set_zero_linger()?;
            return server.set_zero_linger();
        }
    }
}

/// Let a piece pass; false where the connection is to be reset.
async fn pass(piece: &[u8], to: &mut TcpStream, state: &State) -> io::Result<bool> {
    let (spoiled, detail) = state.draw();
    match spoiled {
        None => {}
        Some(Spoiled::Late) => tokio::time::sleep(Duration::from_millis(5 + detail % 145)).await,
        Some(Spoiled::Stall) => {
            tokio::time::sleep(Duration::from_millis(1000 + detail % 2000)).await;
        }
        Some(Spoiled::Reset) => return Ok(false),
        Some(Spoiled::Half) => {
            to.write_all(piece.get(..piece.len() / 2).unwrap_or_default()).await?;
            return Ok(false);
        }
        Some(Spoiled::Dribble) => {
            for drop in piece.chunks(DROP_BYTES) {
                to.write_all(drop).await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            return Ok(true);
        }
    }
    to.write_all(piece).await?;
    Ok(true)
}
