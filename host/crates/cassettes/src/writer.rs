//! The one thread that writes cassettes: it masks, lays out and appends.
//!
//! Promises: an exchange is appended whole, with one write; a file that this recording did not make is left alone.
//! What cannot be written is counted and logged, once each.
//! Ends when: no recording and no take is left that could give it work.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;

use tokio::sync::OwnedSemaphorePermit;

use crate::exchange::{Ended, Exchange};
use crate::record::{Bounds, Spent};
use crate::secrets::Secrets;
use crate::write;

/// An exchange that has ended. What it holds of the recording's bounds is free when it is written.
pub(crate) struct Job {
    pub(crate) agent: String,
    /// Within the folder.
    pub(crate) file: PathBuf,
    pub(crate) secrets: Secrets,
    pub(crate) exchange: Exchange,
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
    pub(crate) _spent: Spent,
    pub(crate) _open: Option<OwnedSemaphorePermit>,
}

pub(crate) fn start(
    folder: PathBuf,
    jobs: Receiver<Job>,
    lost: Arc<AtomicU64>,
    bounds: Bounds,
) -> io::Result<()> {
    let write = move || {
        let mut written = Written { bounds, files: HashMap::new(), bytes: 0 };
        for mut job in jobs {
            job.mask();
            let path = folder.join(&job.file);
            if let Err(error) = written.append(&path, &job) {
                lost.fetch_add(1, Ordering::Relaxed);
                let (agent, path) = (&job.agent, path.display());
                tracing::error!(agent, %path, %error, "a request could not be recorded");
            }
        }
    };
    thread::Builder::new().name("cassettes".into()).spawn(write).map(drop)
}

impl Job {
    /// Takes every secret out, and puts the bodies where they belong.
    fn mask(&mut self) {
        let (secrets, exchange) = (&self.secrets, &mut self.exchange);
        secrets.mask_text(&mut exchange.url);
        secrets.mask_text(&mut exchange.detail);
        secrets.mask_headers(&mut exchange.headers);
        let whole = exchange.ended == Ended::Whole;
        secrets.mask(&mut self.sent, whole);
        secrets.mask(&mut self.received, whole);
        exchange.body = std::mem::take(&mut self.sent).into();
        if let Some(response) = &mut exchange.response {
            secrets.mask_headers(&mut response.headers);
            response.trailers.iter_mut().for_each(|trailers| secrets.mask_headers(trailers));
            response.data = std::mem::take(&mut self.received).into();
        }
    }
}

/// What this recording has made.
struct Written {
    bounds: Bounds,
    /// How many bytes each cassette has.
    files: HashMap<PathBuf, u64>,
    bytes: u64,
}

impl Written {
    fn append(&mut self, path: &Path, job: &Job) -> io::Result<()> {
        let known = self.files.get(path).copied();
        let mut text = if known.is_some() { String::new() } else { write::opening(&job.agent) };
        text.push_str(&job.exchange.to_string());
        let (length, before) = (text.len() as u64, known.unwrap_or(0));
        if before + length > self.bounds.file || self.bytes + length > self.bounds.folder {
            return Err(io::Error::other("there is more in the recording than a replay would read"));
        }
        let mut file = if known.is_some() {
            OpenOptions::new().append(true).open(path)?
        } else {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            OpenOptions::new().write(true).create_new(true).open(path)?
        };
        self.files.insert(path.to_owned(), before + length);
        self.bytes += length;
        file.write_all(text.as_bytes())
    }
}
