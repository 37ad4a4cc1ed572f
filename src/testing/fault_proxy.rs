//! A proxy between a client and an HTTP server that spoils a part of the exchanges, as networks and
//! services do. Which ones, and how, follows from a seed and the order in which requests arrive.
//!
//! The server is asked one thing at a time. AWS checks the condition of a write and writes in one step;
//! a server of a test may do it in two, between which another of its threads comes.
//!
//! Each exchange has a connection of its own. A request is read whole before anything else happens,
//! so that "applied" and "not applied" are certain.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::listener::Listener;
use crate::randomness::{Generator, Randomness as _};

/// What happens to one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It takes 20 to 300 ms longer.
    Late,
    /// The connection is reset before the server sees anything.
    ResetBefore,
    /// The server has done it; the connection is reset before the answer.
    ResetAfter,
    /// The server has done it; half of the answer arrives.
    HalfAnswer,
    /// The answer comes in drops.
    Dribble,
    /// 500, and nothing was done.
    InternalError,
    /// 503 SlowDown, and nothing was done.
    SlowDown,
    /// 500, although the server has done it.
    ErrorAfter,
    /// Nothing is answered for two seconds, and nothing was done.
    BlackHole,
    /// 200 with an error in the body, where an upload is completed; every other time it was done.
    ErrorInside,
}

const FAULTS: [Fault; 9] = [
    Fault::Late,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::HalfAnswer,
    Fault::Dribble,
    Fault::InternalError,
    Fault::SlowDown,
    Fault::ErrorAfter,
    Fault::BlackHole,
];

const BLACK_HOLE: Duration = Duration::from_secs(2);
/// An answer that comes in drops has no smaller ones...
const LEAST_DROP_BYTES: usize = 200;
/// ...and about so many at most, so that a large one arrives at all.
const MOST_DROPS: usize = 200;
/// Longest head of a request.
const HEAD_MAX_BYTES: usize = 64 << 10;

struct State {
    upstream: SocketAddr,
    random: Generator,
    /// Exchanges of a thousand that are spoiled.
    per_mille: Mutex<u64>,
    /// Every connection is reset before the server sees anything.
    is_away: AtomicBool,
    /// Held while the server is asked.
    turn: tokio::sync::Mutex<()>,
    counts: Mutex<BTreeMap<Fault, u32>>,
    /// What every request is answered that holds the text, and nothing is done.
    refusal: Mutex<Option<(String, String)>>,
    /// The answer to the first request that holds all these texts waits for its release.
    held: Mutex<Option<(Vec<String>, Hold)>>,
}

/// An answer that waits: who made the proxy hold it says when it goes on.
#[derive(Clone, Default)]
pub struct Hold {
    met: Arc<Notify>,
    released: Arc<Notify>,
}

impl Hold {
    /// Wait until the server has answered, and the client has not heard it.
    pub async fn met(&self) {
        self.met.notified().await;
    }

    /// Let the answer go on.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

/// The proxy; it ends when this is dropped.
pub struct FaultProxy {
    listener: Listener,
    state: Arc<State>,
}

impl FaultProxy {
    /// A proxy on a free port of the loopback interface before `upstream`, which spoils `per_mille`
    /// exchanges of a thousand.
    pub fn start(upstream: SocketAddr, seed: u64, per_mille: u64) -> io::Result<Self> {
        let state = Arc::new(State {
            upstream,
            random: Generator::seeded(seed),
            per_mille: Mutex::new(per_mille),
            is_away: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            refusal: Mutex::default(),
            held: Mutex::default(),
        });
        let shared = state.clone();
        let listener = Listener::start(move |client| {
            let state = shared.clone();
            async move { exchange(client, &state).await }
        })?;
        Ok(Self { listener, state })
    }

    /// The address that clients are told.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    /// From now on spoil so many exchanges of a thousand; 0 heals everything.
    pub fn spoil(&self, per_mille: u64) {
        *self.state.per_mille.lock().unwrap_or_else(PoisonError::into_inner) = per_mille;
    }

    /// Answer every request that has `text` in its head with `answer`, status line and all, until
    /// [`allow`](Self::allow).
    pub fn refuse(&self, text: &str, answer: &str) {
        let refusal = Some((text.to_owned(), answer.to_owned()));
        *self.state.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Let everything through again.
    pub fn allow(&self) {
        *self.state.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on the server is away, or back.
    pub fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Hold the answer to the next request that has each of `texts` in its head or body.
    pub fn hold(&self, texts: &[&str]) -> Hold {
        let hold = Hold::default();
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        *self.state.held.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((texts, hold.clone()));
        hold
    }

    /// How often each fault came so far.
    pub fn counts(&self) -> BTreeMap<Fault, u32> {
        self.state.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    /// The hold that waits for this request, once.
    fn held(&self, head: &str, body: &[u8]) -> Option<Hold> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8_lossy(body);
        let (_, hold) = held.take_if(|(texts, _)| {
            texts.iter().all(|text| head.contains(text.as_str()) || body.contains(text.as_str()))
        })?;
        Some(hold)
    }

    /// What a request with this head is answered, where it is refused.
    fn refusal(&self, head: &str) -> Option<String> {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.as_ref().filter(|(text, _)| head.contains(text)).map(|(_, answer)| answer.clone())
    }

    /// What happens to a request with this head, and a random number for the details.
    fn draw(&self, head: &str) -> (Option<Fault>, u64) {
        let (roll, detail) = (self.random.next_u64() % 1000, self.random.next_u64());
        let per_mille = *self.per_mille.lock().unwrap_or_else(PoisonError::into_inner);
        if roll >= per_mille {
            return (None, detail);
        }
        let completes = head.starts_with("POST ") && head.contains("uploadId=");
        let fault = match completes && detail % 3 == 0 {
            true => Fault::ErrorInside,
            false => {
                let chosen = usize::try_from(detail % FAULTS.len() as u64).unwrap_or_default();
                FAULTS.get(chosen).copied().unwrap_or(Fault::Late)
            }
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(fault).or_default() += 1;
        (Some(fault), detail >> 8)
    }
}

async fn exchange(mut client: TcpStream, state: &State) -> io::Result<()> {
    let Some((head, body)) = read_request(&mut client).await? else { return Ok(()) };
    if let Some(answer) = state.refusal(&head) {
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    if state.is_away.load(Ordering::Relaxed) {
        return client.set_zero_linger();
    }
    let (fault, detail) = state.draw(&head);
    let error = |status: &str, code: &str| {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"
        );
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    match fault {
        None => {
            let answer = forward(state, &head, &body).await?;
            if let Some(hold) = state.held(&head, &body) {
                hold.met.notify_one();
                hold.released.notified().await;
            }
            client.write_all(&answer).await?;
        }
        Some(Fault::Late) => {
            tokio::time::sleep(Duration::from_millis(20 + detail % 280)).await;
            client.write_all(&forward(state, &head, &body).await?).await?;
        }
        Some(Fault::ResetBefore) => client.set_zero_linger()?,
        Some(Fault::ResetAfter) => {
            forward(state, &head, &body).await?;
            client.set_zero_linger()?;
        }
        Some(Fault::HalfAnswer) => {
            let answer = forward(state, &head, &body).await?;
            client.write_all(answer.get(..answer.len() / 2).unwrap_or_default()).await?;
        }
        Some(Fault::Dribble) => {
            let answer = forward(state, &head, &body).await?;
            for drop in answer.chunks(LEAST_DROP_BYTES.max(answer.len() / MOST_DROPS)) {
                client.write_all(drop).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Some(Fault::InternalError) => {
            client.write_all(&error("500 Internal Server Error", "InternalError")).await?;
        }
        Some(Fault::SlowDown) => {
            client.write_all(&error("503 Slow Down", "SlowDown")).await?;
        }
        Some(Fault::ErrorAfter) => {
            forward(state, &head, &body).await?;
            client.write_all(&error("500 Internal Server Error", "InternalError")).await?;
        }
        Some(Fault::BlackHole) => tokio::time::sleep(BLACK_HOLE).await,
        Some(Fault::ErrorInside) => {
            if detail % 2 == 0 {
                forward(state, &head, &body).await?;
            }
            client.write_all(&error("200 OK", "InternalError")).await?;
        }
    }
    client.shutdown().await
}

/// The head, without what concerns the connection, and the body; `None` where the client only
/// looked in.
pub(super) async fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 || bytes.len() > HEAD_MAX_BYTES {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end + 4);
    let (mut head, mut length) = (String::new(), 0);
    for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            "connection" => continue,
            "expect" => {
                client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                continue;
            }
            _ => {}
        }
        head.push_str(line);
        head.push_str("\r\n");
    }
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}

/// The server's whole answer.
async fn forward(state: &State, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let _turn = state.turn.lock().await;
    let mut server = TcpStream::connect(state.upstream).await?;
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}
