//! Replaying: requests are answered from what was recorded, each exchange once.
//!
//! Promises: the same requests get the same answers in the same order, whatever time it is and whoever else asks. What was
//! not recorded, or is asked once more than it was recorded, is an error that says what there is instead.
//! Bounded by: what is read at all, which is held in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;

use crate::error::CassetteError;
use crate::exchange::{Ended, Exchange};
use crate::missing::{NotRecorded, body_differs, path};
use crate::read::{Found, read};
use crate::{BODY_LIMIT, clean, json, names};

/// A cassette of a long conversation has some MiB; with pictures in it ten times as much.
pub(crate) const FILE: u64 = 256 * 1024 * 1024;

/// All of a folder together.
pub(crate) const FOLDER: u64 = 1024 * 1024 * 1024;

/// When a replayed response comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speed {
    /// As it did when it was recorded.
    Recorded,
    /// At once.
    #[default]
    Instant,
}

/// A folder that is answered from. Cheap to clone.
#[derive(Clone)]
pub struct Replaying(Arc<Shared>);

impl std::fmt::Debug for Replaying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replaying({}, {:?})", self.0.folder.display(), self.0.speed)
    }
}

struct Shared {
    folder: PathBuf,
    speed: Speed,
    /// By their paths within the folder.
    cassettes: HashMap<PathBuf, Mutex<Vec<Known>>>,
}

/// An exchange that was recorded.
struct Known {
    exchange: Arc<Exchange>,
    /// The request's body, in the spelling in which it is compared.
    body: Bytes,
    line: usize,
    answered: bool,
}

impl Replaying {
    /// Reads a folder of cassettes, all of them at once, so that a mistake in one is found before anybody asks.
    ///
    /// # Errors
    ///
    /// Where there is none, where one is malformed, one is larger than 256 MiB or all are larger than 1 GiB, and those of
    /// the disk.
    pub fn open(folder: &Path, speed: Speed) -> Result<Replaying, CassetteError> {
        let mut cassettes = HashMap::new();
        let mut left = FOLDER;
        for path in self::cassettes(folder)? {
            let text = contents(&path)?;
            let too_large = CassetteError::TooLarge { path: folder.to_owned(), limit: FOLDER >> 20 };
            left = left.checked_sub(text.len() as u64).ok_or(too_large)?;
            let mut known: Vec<Known> = read(&path, &text)?.into_iter().map(Known::new).collect();
            known.sort_by_key(|known| known.exchange.at);
            let within = path.strip_prefix(folder).unwrap_or(&path).to_owned();
            cassettes.insert(within, Mutex::new(known));
        }
        if cassettes.is_empty() {
            return Err(CassetteError::Empty(folder.to_owned()));
        }
        Ok(Replaying(Arc::new(Shared { folder: folder.to_owned(), speed, cassettes })))
    }

    /// When responses come.
    pub fn speed(&self) -> Speed {
        self.0.speed
    }

    /// What an agent (`chat/alice`) was answered to this request. It is equal to one that was recorded if method and URL
    /// are, and the body byte for byte or as JSON.
    ///
    /// # Errors
    ///
    /// Where it was not recorded, or all that were recorded like it have been answered.
    pub fn answer(
        &self,
        agent: &str,
        method: &Method,
        url: &str,
        body: &[u8],
    ) -> Result<Arc<Exchange>, NotRecorded> {
        let (file, known) = self.cassette(agent);
        let missing = |why: String| NotRecorded::new(method, url, file.clone(), why);
        let known = known.ok_or_else(|| missing("there is no such file; record it with --record".into()))?;
        let url = clean::url(url);
        let body = json::meaning(body);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let equal = |known: &&mut Known| {
            known.exchange.method == *method && known.exchange.url == url && known.body == *body
        };
        if let Some(next) = known.iter_mut().filter(|known| !known.answered).find(|known| equal(known)) {
            next.answered = true;
            return match next.exchange.ended {
                Ended::TooLarge => Err(NotRecorded::broken_off(method, &url, file, too_large(next.line))),
                Ended::Cut if next.exchange.response.is_none() => Err(self.cut(agent, &next.exchange)),
                _ => Ok(next.exchange.clone()),
            };
        }
        Err(missing(nearest(&known, method, &url, &body)))
    }

    /// What there is to say where a response that was recorded breaks off, because its run had ended then or its agent had
    /// read no further.
    pub fn cut(&self, agent: &str, exchange: &Exchange) -> NotRecorded {
        let why = "the agent had read no further when it was recorded, or its run had ended; record it anew";
        NotRecorded::broken_off(&exchange.method, &exchange.url, self.cassette(agent).0, why)
    }

    /// What there is to say of a request whose body is larger than any that was recorded.
    pub fn too_large(&self, agent: &str, method: &Method, url: &str) -> NotRecorded {
        let why = format!("its body is larger than the {} MiB that are recorded", BODY_LIMIT >> 20);
        NotRecorded::new(method, url, self.cassette(agent).0, why)
    }

    fn cassette(&self, agent: &str) -> (PathBuf, Option<&Mutex<Vec<Known>>>) {
        match names::file(agent) {
            Some(file) => (self.0.folder.join(&file), self.0.cassettes.get(&file)),
            None => (self.0.folder.clone(), None),
        }
    }
}

impl Known {
    fn new(found: Found) -> Known {
        let body = json::meaning(&found.exchange.body).into();
        // The other spelling is not needed any more.
        let exchange = Arc::new(Exchange { body: Bytes::clone(&body), ..found.exchange });
        Known { exchange, body, line: found.line, answered: false }
    }
}

fn too_large(line: usize) -> String {
    format!(
        "the exchange at line {line} has a body of more than {} MiB, or was recorded when too much was open",
        BODY_LIMIT >> 20
    )
}

/// What is most like a request that was not found: the one with the same method and URL that would be next, then one whose
/// path is the same.
fn nearest(known: &[Known], method: &Method, url: &str, body: &[u8]) -> String {
    let same: Vec<&Known> = known
        .iter()
        .filter(|known| known.exchange.method == *method && path(&known.exchange.url) == path(url))
        .collect();
    let equal = same.iter().filter(|known| known.exchange.url == url && known.body == *body).count();
    if equal > 0 {
        let times = if equal == 1 { "once".to_owned() } else { format!("{equal} times") };
        return format!("it was recorded {times}, and that is answered already");
    }
    let rank = |known: &&&Known| (known.exchange.url != url, known.answered);
    match same.iter().min_by_key(rank) {
        Some(near) if near.exchange.url == url => {
            format!("nearest is the exchange at line {}, but {}", near.line, body_differs(&near.body, body))
        }
        Some(near) => format!("nearest is the exchange at line {}, but its query is another one", near.line),
        None => format!("none of its {} exchanges has this method and path", known.len()),
    }
}

/// All cassettes of a folder, in the order of their names.
pub(crate) fn cassettes(folder: &Path) -> Result<Vec<PathBuf>, CassetteError> {
    let mut found = Vec::new();
    for plugin in entries(folder)? {
        if plugin.is_dir() {
            let is_one = |path: &PathBuf| path.extension().is_some_and(|ending| ending == names::ENDING);
            found.extend(entries(&plugin)?.into_iter().filter(is_one));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CassetteError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(CassetteError::io(folder))
}

fn contents(path: &Path) -> Result<String, CassetteError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(CassetteError::io(path))?;
    file.take(FILE + 1).read_to_end(&mut bytes).map_err(CassetteError::io(path))?;
    if bytes.len() as u64 > FILE {
        return Err(CassetteError::TooLarge { path: path.to_owned(), limit: FILE >> 20 });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|&&byte| byte == b'\n').count();
        CassetteError::Malformed { path: path.to_owned(), line, reason: "this is no text in UTF-8".into() }
    })
}
