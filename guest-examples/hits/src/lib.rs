//! Waking and sleeping: a working copy in memory, read when the instance wakes and written before it sleeps.
//!
//! It counts how often pages are seen, which is too often to write each time, and where a few views less do no harm. Nobody
//! calls `sleep` where the host is killed (`kill -9`, no power) or the instance traps: all that was counted since it was
//! last written is lost then. Here that is fewer than [`AT_STAKE`] views, since so many are written at the latest. What must
//! not be lost at all belongs into storage in the run itself, as in `notes`.

wit_bindgen::generate!({
    inline: "
        package example:hits;
        world hits {
            include rookery:agent/plugin@0.1.0;
            export rookery:agent/lifecycle@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Mutex;

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use exports::rookery::agent::lifecycle;
use rookery::agent::storage::{self, Error};
use rookery::agent::types::Chunk;

/// All of it is one value, which may have 2 MiB: these bounds keep it below.
const PAGES: usize = 4_000;
const LONGEST_PAGE: usize = 256;

const AT_STAKE: u64 = 100;
const KEY: &str = "views";

/// The working copy.
static VIEWS: Mutex<Views> = Mutex::new(Views { of: BTreeMap::new(), unwritten: 0 });

struct Views {
    of: BTreeMap<String, u64>,
    unwritten: u64,
}

struct Hits;

impl Guest for Hits {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let mut views = VIEWS.lock().unwrap();
        let said = match prompt.text.trim() {
            "top" => views.top(),
            page if page.starts_with('/') && !page.contains(char::is_whitespace) => views.count(page)?,
            _ => return Err(Failure::Rejected("say which page was seen, such as `/about`, or `top`".into())),
        };
        let _ = reply.write(&Chunk::Text(said));
        Ok(())
    }
}

impl lifecycle::Guest for Hits {
    async fn wake() {
        // Whoever cannot read it must not begin from nothing, since `sleep` would write that over it: the run fails instead.
        let kept = storage::get(KEY).expect("the views can be read");
        VIEWS.lock().unwrap().of = kept.map(|kept| read(&kept)).unwrap_or_default();
    }

    async fn sleep() {
        if let Err(error) = VIEWS.lock().unwrap().write() {
            // Nobody is there to be told but whoever reads the host's log.
            eprintln!("views were lost: {error:?}");
        }
    }
}

impl Views {
    fn count(&mut self, page: &str) -> Result<String, Failure> {
        if page.len() > LONGEST_PAGE || (self.of.len() == PAGES && !self.of.contains_key(page)) {
            let bounds = format!("there are {PAGES} pages at most, of {LONGEST_PAGE} bytes each");
            return Err(Failure::Rejected(bounds));
        }
        let seen = self.of.entry(page.into()).or_default();
        *seen += 1;
        let said = seen.to_string();
        self.unwritten += 1;
        if self.unwritten >= AT_STAKE {
            self.write().map_err(|error| Failure::Unavailable(format!("it cannot be kept: {error:?}")))?;
        }
        Ok(said)
    }

    fn top(&self) -> String {
        let mut pages: Vec<_> = self.of.iter().collect();
        pages.sort_by_key(|(_, seen)| Reverse(**seen));
        pages.iter().take(10).map(|(page, seen)| format!("{seen} {page}\n")).collect()
    }

    /// An instance that only answered writes nothing.
    fn write(&mut self) -> Result<(), Error> {
        if self.unwritten > 0 {
            let lines: String = self.of.iter().map(|(page, seen)| format!("{seen} {page}\n")).collect();
            storage::set(KEY, lines.as_bytes())?;
            self.unwritten = 0;
        }
        Ok(())
    }
}

fn read(kept: &[u8]) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (seen, page) = line.split_once(' ')?;
        Some((page.to_owned(), seen.parse().ok()?))
    };
    String::from_utf8_lossy(kept).lines().filter_map(line).collect()
}

export!(Hits);
