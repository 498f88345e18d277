//! Cassettes: what agents asked over HTTP and what they were answered, with its timing, in files a person can read.
//!
//! A [`Recording`] writes a folder of them, a [`Replaying`] answers from one, so that an agent can be tried offline and
//! does the same thing every time. There is one file for each agent, `<folder>/<plugin>/<name>.toml`, and in it a table
//! `[[exchange]]` for each request:
//!
//! - `at`: the milliseconds from the beginning of the recording until the request. Exchanges stand in the order in which
//!   they ended; where several answer the same request, the one that was asked first goes first.
//! - `method`, `url`, `headers` (lines `name: value`), and the body as `json` (laid out anew), `text` or `base64`.
//! - `after`: the milliseconds until the head of the response, or until it failed.
//! - `ended`, if the response is not whole: what it failed with (with a `detail`); `cut`, where the run ended or the
//!   agent read no further; `too-large`, where a body was not kept.
//! - `[exchange.response]`: `status`, `headers`, `trailers`; `frames`, as they came, each with its `text` or `base64` and
//!   the milliseconds since the head (`at`); and `until`, the milliseconds when the response ended.
//!
//! A cassette may be edited, renamed to another agent's, or put together from others.
//!
//! Promises: nothing that is recorded is written over. A header or a parameter of a URL that by its name holds a key is
//! not written, and the values that the host adds to requests are masked wherever else they stand, over the borders of
//! frames too. (Not where a server sends them back compressed or encoded, and not what the agent itself was told.)
//! Replaying sends nothing, and a request that was not recorded is an error which names the nearest one that was.
//! Bounded by: [`BODY_LIMIT`] for a body, and what a recording holds in memory and a replay reads at all.
//! Ends when: the last handle is dropped; [`Recording::settled`] waits until all is written.

mod clean;
mod error;
mod exchange;
mod json;
mod missing;
mod names;
mod quote;
mod read;
mod record;
mod replay;
mod secrets;
mod write;
mod writer;

#[cfg(test)]
mod tests;

pub use clean::is_key;
pub use error::CassetteError;
pub use exchange::{Ended, Exchange, Frame, Response};
pub use missing::NotRecorded;
pub use record::{Recording, Take, WeakTake};
pub use replay::{Replaying, Speed};
pub use secrets::Secrets;

/// How many bytes of a body are kept, 16 MiB: as much as a prompt with some pictures in it takes. Of a larger one nothing
/// is, because half an answer would be taken for one.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What becomes of requests besides being sent.
#[derive(Clone, Debug)]
pub enum Cassettes {
    /// They are sent and written down.
    Recording(Recording),
    /// They are answered from what was written down, and not sent.
    Replaying(Replaying),
}
