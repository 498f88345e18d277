//! What was written since the last commit, and how to write it once more.
//!
//! SQLite undoes a whole transaction, and not only the statement, where a statement that writes is interrupted or finds
//! the disk full, and where one of any kind is refused memory. What was written before it is to stand, so it is remembered
//! and written again.
//!
//! Bounded by: [`BYTES`] and [`TIME`]. What is more, or would come out differently the second time, is not written again;
//! then all of it is [`Lost`](Transaction::Lost), and the commit says so.

use std::time::Duration;

use crate::alarms::Pending;
use crate::rows::Value;

/// Where an agent's storage stands between two commits.
pub(crate) enum Transaction {
    /// Nothing was written.
    None,
    /// Something was.
    Open(Redo),
    /// Something was, and is no more. Nothing is read or written until this was heard.
    Lost,
}

/// How to write once more what was written, if that is possible.
pub(crate) struct Redo(Option<Log>);

#[derive(Default)]
struct Log {
    writes: Vec<Write>,
    bytes: usize,
    time: Duration,
}

/// One thing that was written.
pub(crate) enum Write {
    Set { key: String, value: Vec<u8> },
    Delete { key: String },
    Run { statement: String, parameters: Vec<Value>, changed: u64 },
    Alarm(Box<Pending>),
    NoAlarm { name: String },
}

/// More than what agents write between two awaits, and little beside what a guest's memory costs.
const BYTES: usize = 1 << 20;

/// Writing again takes about as long as it took; who waits has waited for a statement that was too slow already.
const TIME: Duration = Duration::from_secs(1);

impl Redo {
    pub(crate) fn new() -> Self {
        Self(Some(Log::default()))
    }

    /// Remembers something of so many bytes, which took so long.
    pub(crate) fn remember(&mut self, bytes: usize, time: Duration, write: impl FnOnce() -> Write) {
        let Some(log) = &mut self.0 else { return };
        log.bytes = log.bytes.saturating_add(bytes.saturating_add(size_of::<Write>()));
        log.time += time;
        if log.bytes > BYTES || log.time > TIME {
            self.0 = None;
        } else {
            log.writes.push(write());
        }
    }

    /// What to write, in order; none if it was too much.
    pub(crate) fn writes(self) -> Option<Vec<Write>> {
        self.0.map(|log| log.writes)
    }
}
