//! How often a wrong token may be tried.
//!
//! Promises: [`MOST`] wrong tokens in a [`WINDOW`], wherever they come from, are told that they are wrong; any more are told
//! to come back when it is over, and the log says so once. The right one is never asked here, so that nobody locks out
//! whoever has it: someone who goes on guessing all the same is kept out by the token's length alone.
//! Bounded by: a moment and a number, however many guess.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// More than a person mistypes, or than a fleet of scrapers sends that were not told of a new token at once.
pub(crate) const MOST: u32 = 30;

/// Counted from the first wrong token in it.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// What was tried lately.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<Option<Lately>>);

#[derive(Clone, Copy)]
struct Lately {
    since: Instant,
    wrong: u32,
}

impl Guesses {
    /// A wrong token was sent. Says how long no further one is looked at, where there were too many.
    pub(crate) fn wrong(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lately { since, wrong } = match *lately {
            Some(lately) if now < lately.since + WINDOW => lately,
            _ => Lately { since: now, wrong: 0 },
        };
        let wrong = wrong.saturating_add(1);
        *lately = Some(Lately { since, wrong });
        if wrong == MOST + 1 {
            tracing::warn!("somebody tries one wrong admin token after the other, {wrong} within {WINDOW:?}");
        }
        (wrong > MOST).then(|| since + WINDOW - now)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn so_many_wrong_tokens_are_told_so_and_any_more_to_come_back_when_the_window_is_over() {
        let guesses = Guesses::default();
        for window in 0..3 {
            for guess in 0..MOST {
                assert_eq!(guesses.wrong(), None, "{guess} in window {window}");
            }
            assert_eq!(guesses.wrong(), Some(WINDOW));
            advance(WINDOW - SECOND).await;
            assert_eq!(guesses.wrong(), Some(SECOND), "it is not put off by guessing on");
            advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn now_and_then_a_wrong_one_is_no_guessing() {
        let guesses = Guesses::default();
        for _ in 0..10 * MOST {
            assert_eq!(guesses.wrong(), None);
            advance(WINDOW / MOST).await;
        }
    }
}
