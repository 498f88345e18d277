//! Which event of a run a client has seen last, and what the events of a stream are called so that it can tell.
//!
//! A stream's ids are plain numbers where its address names the run. The stream that a `GET` with a prompt starts has
//! an address that does not, and an `EventSource` that comes back repeats nothing but that address and the last id: so
//! there the id names the run too, `<run>/<n>`.

use std::str::FromStr;

use http::HeaderMap;
use rookery_core::RunId;

use crate::problem::{Kind, Problem};
use crate::query;

/// What the events of a stream are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// By their number.
    Number,
    /// By their run and their number. The stream begins by saying which one the client has seen already, so that even
    /// one that breaks before its first event is not started once more.
    RunAndNumber {
        /// The number of that event, or 0.
        seen: u64,
    },
}

/// The event that a client has seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastEvent {
    /// Its run, where the client said.
    pub(crate) run: Option<RunId>,
    /// Its number.
    pub(crate) number: u64,
}

const HEADER: &str = "last-event-id";

/// Whether the client is an `EventSource` that comes back.
pub(crate) fn comes_back(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER)
}

/// The last event that an `EventSource` has seen, as far as it is one.
pub(crate) fn of(headers: &HeaderMap) -> Option<LastEvent> {
    headers.get(HEADER)?.to_str().ok()?.parse().ok()
}

/// After which event of this run the client wants to go on. The header is newer than the address: an `EventSource`
/// that comes back has the address it began with.
pub(crate) fn after(run: RunId, headers: &HeaderMap, query: Option<&str>) -> Result<u64, Problem> {
    let header = headers.get(HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let wanted =
        header.or_else(|| query::texts(query).find(|(name, _)| name == "after").map(|(_, value)| value));
    let Some(wanted) = wanted else { return Ok(0) };
    match wanted.parse() {
        Ok(LastEvent { run: None, number }) => Ok(number),
        Ok(LastEvent { run: Some(named), number }) if named == run => Ok(number),
        Ok(LastEvent { run: Some(named), .. }) => {
            Err(bad(format!("the last event is one of run {named}, and this is run {run}; follow that one")))
        }
        Err(NoEvent) => {
            let wanted: String = wanted.chars().take(100).collect();
            Err(bad(format!("{wanted:?} names no event; send the `id` of the last event that was received")))
        }
    }
}

/// The text names no event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoEvent;

impl FromStr for LastEvent {
    type Err = NoEvent;

    fn from_str(text: &str) -> Result<Self, NoEvent> {
        let (run, number) = match text.split_once('/') {
            Some((run, number)) => (Some(run.parse().map_err(|_| NoEvent)?), number),
            None => (None, text),
        };
        // Digits only: a number that is read as text would have a sign too.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoEvent);
        }
        Ok(Self { run, number: number.parse().map_err(|_| NoEvent)? })
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(Kind::BadEventId, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "018f3f5e-0000-7000-8000-000000000001";

    #[test]
    fn an_event_is_named_by_its_number_or_by_its_run_too() {
        let run = RUN.parse().unwrap();
        let event = |run, number| Ok(LastEvent { run, number });
        let table = [
            ("0".to_owned(), event(None, 0)),
            ("17".to_owned(), event(None, 17)),
            (u64::MAX.to_string(), event(None, u64::MAX)),
            (format!("{RUN}/0"), event(Some(run), 0)),
            (format!("{RUN}/17"), event(Some(run), 17)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), expected, "{text}");
        }
        let run_only = [RUN.to_owned(), format!("{RUN}/"), format!("{RUN}/1/2"), format!("{RUN}/-1")];
        let others = ["", "/", "/1", "-1", "+1", "1.0", " 1", "1 ", "x", "18446744073709551616", "x/1"];
        for bad in run_only.into_iter().chain(others.map(str::to_owned)) {
            assert_eq!(bad.parse::<LastEvent>(), Err(NoEvent), "{bad:?}");
        }
    }

    #[test]
    fn the_header_is_newer_than_the_address() {
        let run: RunId = RUN.parse().unwrap();
        let headers = |value: &str| HeaderMap::from_iter([(HEADER.parse().unwrap(), value.parse().unwrap())]);
        let none = HeaderMap::new();
        assert_eq!(after(run, &none, None).unwrap(), 0);
        assert_eq!(after(run, &none, Some("x=1&after=3&after=4")).unwrap(), 3);
        assert_eq!(after(run, &none, Some(&format!("after={RUN}%2F3"))).unwrap(), 3);
        assert_eq!(after(run, &headers("7"), Some("after=3")).unwrap(), 7);
        assert_eq!(after(run, &headers(&format!("{RUN}/7")), None).unwrap(), 7);
        assert!(after(run, &none, Some("after=")).is_err());
        assert!(after(run, &headers("x"), Some("after=3")).is_err());
        assert!(after(RunId::new(), &headers(&format!("{RUN}/7")), None).is_err());
    }
}
