//! Recording: every exchange is noted while it happens, and written when it has ended.
//!
//! Promises: a folder that has cassettes is not recorded into. What is noted is copied, never held, so that no
//! connection and no guest waits for the disk; an exchange is written however it ends.
//! Bounded by: [`OPEN`] exchanges that are open or not yet written, where one more waits to be sent; and [`MEMORY`] for
//! what they hold, where one that needs more is marked as too large. On disk by as much as a replay reads; what would be
//! more is lost, and counted.
//! Ends when: the last handle and the last take are dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use http::{HeaderMap, request, response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::CassetteError;
use crate::exchange::{Ended, Exchange, Frame, Response};
use crate::secrets::Secrets;
use crate::writer::{self, Job};
use crate::{BODY_LIMIT, clean, names, replay};

/// Sixteen plugins with as many requests open as they may have by default; without bodies these are a few MiB.
const OPEN: u32 = 4096;

/// What all exchanges hold together that are open or not yet written: sixteen of the largest bodies.
const MEMORY: usize = 16 * BODY_LIMIT;

/// What one exchange holds: both bodies, and the heads and the frames about as much again.
const EXCHANGE: usize = 4 * BODY_LIMIT;

/// What a frame or a header costs besides its bytes.
const EACH: usize = 64;

/// What a recording may take.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) open: u32,
    pub(crate) memory: usize,
    /// How many bytes a cassette may have, and all together.
    pub(crate) file: u64,
    pub(crate) folder: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { open: OPEN, memory: MEMORY, file: replay::FILE, folder: replay::FOLDER }
    }
}

/// A folder that is being recorded into. Cheap to clone.
#[derive(Clone)]
pub struct Recording(Arc<Shared>);

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({})", self.0.folder.display())
    }
}

struct Shared {
    folder: PathBuf,
    begun: Instant,
    places: u32,
    open: Arc<Semaphore>,
    memory: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
    /// Has room for every permit, so nothing ever waits for it.
    writer: SyncSender<Job>,
}

impl Recording {
    /// Begins a recording in a folder, which is made if it is not there. Starts a thread that writes.
    ///
    /// # Errors
    ///
    /// [`CassetteError::Taken`] where there are cassettes already: a recording is one folder, and what was recorded
    /// before may be the only proof of what a provider once said. Or the disk.
    pub fn begin(folder: &Path) -> Result<Recording, CassetteError> {
        Recording::bounded(folder, Bounds::default())
    }

    pub(crate) fn bounded(folder: &Path, bounds: Bounds) -> Result<Recording, CassetteError> {
        std::fs::create_dir_all(folder).map_err(CassetteError::io(folder))?;
        if let Some(found) = replay::cassettes(folder)?.into_iter().next() {
            return Err(CassetteError::Taken { folder: folder.to_owned(), found });
        }
        let (writer, jobs) = sync_channel(bounds.open as usize);
        let lost = Arc::new(AtomicU64::new(0));
        writer::start(folder.to_owned(), jobs, lost.clone(), bounds).map_err(CassetteError::io(folder))?;
        Ok(Recording(Arc::new(Shared {
            folder: folder.to_owned(),
            begun: Instant::now(),
            places: bounds.open,
            open: Arc::new(Semaphore::new(bounds.open as usize)),
            memory: Arc::new(AtomicUsize::new(bounds.memory)),
            lost,
            writer,
        })))
    }

    /// Begins to note a request of an agent (`chat/alice`), with the headers that it has before the host adds its own.
    /// Waits while too many exchanges are open or not written; `None` where this is no agent's name.
    pub async fn take(&self, agent: &str, request: &request::Parts, secrets: Secrets) -> Option<Take> {
        let file = names::file(agent)?;
        // The semaphore is never closed.
        let open = self.0.open.clone().acquire_owned().await.ok()?;
        let begun = Instant::now();
        let exchange = Exchange {
            at: millis(self.0.begun, begun),
            method: request.method.clone(),
            url: clean::url(&request.uri.to_string()),
            headers: clean::headers(&request.headers),
            body: Bytes::new(),
            after: 0,
            ended: Ended::Cut,
            detail: String::new(),
            response: None,
        };
        let spent = Spent { bytes: 0, memory: self.0.memory.clone() };
        let mut state =
            State { exchange, head: None, over: false, sent: Vec::new(), received: Vec::new(), spent };
        state.afford(request.uri.to_string().len() + size(&request.headers));
        let agent = agent.to_owned();
        let state = Mutex::new(Some(state));
        Some(Take(Arc::new(Taking {
            begun,
            agent,
            file,
            secrets,
            open: Some(open),
            state,
            shared: self.0.clone(),
        })))
    }

    /// Ready when all exchanges that were begun have ended and are written. Returns how many were lost because they could
    /// not be written, which the log says too.
    pub async fn settled(&self) -> u64 {
        // The semaphore is never closed.
        drop(self.0.open.acquire_many(self.0.places).await);
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// An exchange that is being noted. It is written when the last clone of it is dropped, as it is by then: cut, if nobody
/// said how it ended. Cheap to clone.
#[derive(Clone)]
pub struct Take(Arc<Taking>);

/// An exchange that is noted elsewhere, without keeping it from being written.
#[derive(Clone)]
pub struct WeakTake(Weak<Taking>);

impl WeakTake {
    /// The exchange, if it is not written yet.
    pub fn upgrade(&self) -> Option<Take> {
        self.0.upgrade().map(Take)
    }
}

struct Taking {
    begun: Instant,
    agent: String,
    file: PathBuf,
    secrets: Secrets,
    open: Option<OwnedSemaphorePermit>,
    /// None when it was handed to the writer.
    state: Mutex<Option<State>>,
    shared: Arc<Shared>,
}

struct State {
    exchange: Exchange,
    /// When the head came.
    head: Option<Instant>,
    /// Whether it is known how it ended; what comes later is not its own any more.
    over: bool,
    sent: Vec<u8>,
    received: Vec<u8>,
    spent: Spent,
}

/// What an exchange holds of the recording's memory.
pub(crate) struct Spent {
    bytes: usize,
    memory: Arc<AtomicUsize>,
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.memory.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Take {
    /// For somebody who may stay longer than the exchange does.
    pub fn downgrade(&self) -> WeakTake {
        WeakTake(Arc::downgrade(&self.0))
    }

    /// A piece of the request's body.
    pub fn sent(&self, data: &[u8]) {
        self.note(|state, _| {
            // A response may be whole before its request is.
            if state.has_room(state.sent.len(), data) && state.afford(data.len()) {
                state.sent.extend_from_slice(data);
            }
        });
    }

    /// The head of the response.
    pub fn head(&self, head: &response::Parts) {
        self.note(|state, begun| {
            let now = Instant::now();
            state.head = Some(now);
            state.exchange.after = millis(begun, now);
            state.exchange.response = Some(Response {
                status: head.status,
                headers: clean::headers(&head.headers),
                data: Bytes::new(),
                frames: Vec::new(),
                trailers: None,
                until: 0,
            });
            state.afford(size(&head.headers));
        });
    }

    /// A piece of the response's body.
    pub fn received(&self, data: &[u8]) {
        self.note(|state, _| {
            if state.over || !state.has_room(state.received.len(), data) || !state.afford(data.len() + EACH) {
                return;
            }
            state.received.extend_from_slice(data);
            let (at, end) = (state.since_head(), state.received.len());
            state.exchange.response.iter_mut().for_each(|response| response.frames.push(Frame { at, end }));
        });
    }

    /// What comes after the response's body.
    pub fn trailers(&self, trailers: &HeaderMap) {
        self.note(|state, _| {
            if !state.over && state.afford(size(trailers)) {
                let trailers = clean::headers(trailers);
                state.exchange.response.iter_mut().for_each(|to| to.trailers = Some(trailers.clone()));
            }
        });
    }

    /// How it ended, with what there is to say of a failure. The first word holds.
    pub fn ended(&self, how: Ended, detail: impl Into<String>) {
        self.note(|state, begun| {
            if !std::mem::replace(&mut state.over, true) {
                let until = state.since_head();
                match &mut state.exchange.response {
                    Some(response) => response.until = until,
                    None => state.exchange.after = millis(begun, Instant::now()),
                }
                state.exchange.ended = how;
                state.exchange.detail = detail.into();
            }
        });
    }

    fn note(&self, note: impl FnOnce(&mut State, Instant)) {
        if let Some(state) = &mut *lock(&self.0.state) {
            note(state, self.0.begun);
        }
    }
}

impl State {
    fn since_head(&self) -> u32 {
        self.head.map_or(0, |head| millis(head, Instant::now()))
    }

    /// Whether a body may grow. One that may not leaves nothing of either.
    fn has_room(&mut self, held: usize, data: &[u8]) -> bool {
        if self.exchange.ended != Ended::TooLarge && held.saturating_add(data.len()) > BODY_LIMIT {
            self.too_large();
        }
        self.exchange.ended != Ended::TooLarge
    }

    /// Takes of the recording's memory what something needs. Where there is not so much, nothing of the bodies is kept.
    fn afford(&mut self, bytes: usize) -> bool {
        let taken = self.spent.bytes.saturating_add(bytes) <= EXCHANGE
            && self
                .spent
                .memory
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
                .is_ok();
        if taken {
            self.spent.bytes += bytes;
        } else {
            self.too_large();
        }
        taken
    }

    fn too_large(&mut self) {
        self.over = true;
        self.exchange.ended = Ended::TooLarge;
        self.exchange.detail = String::new();
        (self.sent, self.received) = (Vec::new(), Vec::new());
        if let Some(response) = &mut self.exchange.response {
            response.frames = Vec::new();
            response.trailers = None;
        }
        let spent = std::mem::take(&mut self.spent.bytes);
        self.spent.memory.fetch_add(spent, Ordering::Relaxed);
    }

    fn finish(mut self) -> (Exchange, Vec<u8>, Vec<u8>, Spent) {
        if !self.over {
            let until = self.since_head();
            self.exchange.response.iter_mut().for_each(|response| response.until = until);
        }
        (self.exchange, self.sent, self.received, self.spent)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let Some(state) = lock(&self.state).take() else { return };
        let (exchange, sent, received, spent) = state.finish();
        let job = Job {
            agent: std::mem::take(&mut self.agent),
            file: std::mem::take(&mut self.file),
            secrets: self.secrets.clone(),
            exchange,
            sent,
            received,
            _spent: spent,
            _open: self.open.take(),
        };
        if self.shared.writer.try_send(job).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a request was not recorded: the recording's writer is gone");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forty-nine days at most.
fn millis(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u32::MAX)
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH).sum()
}
