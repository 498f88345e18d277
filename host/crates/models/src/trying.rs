//! Trying again, and going on to the next provider.
//!
//! Promises: a try is made again only where that may help, and only while nothing was heard.
//! Bounded by: each provider's `retries`, and [`TRYING`] for all of them together: no try begins after that.
//! Costs: where three tries of 300 seconds each fail in their last second, the third is still waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::delta::Error;
use crate::failure::{Failure, Then};
use crate::provider::ModelName;
use crate::route::Route;

/// No try begins later than this after the first. Who waits that long for a first word has gone.
const TRYING: Duration = Duration::from_secs(600);

/// The first pause is up to this long, and each one after it up to twice as long as the one before, up to
/// [`LONGEST_PAUSE`]. All of it is chance ("full jitter"), so that many agents do not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A provider that asks for a longer pause is passed over: the next one may be there now.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// From 0 to 1: `fastrand`, or a test's.
pub(crate) type Chance = fn() -> f64;

/// Makes tries until one succeeds or nothing is left to try.
pub(crate) async fn try_all<T, F>(
    model: &ModelName,
    agent: &str,
    routes: &[Arc<Route>],
    ended: &CancellationToken,
    chance: Chance,
    attempt: impl Fn(Arc<Route>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let begun = Instant::now();
    let mut told = Vec::<Told>::new();
    for route in routes {
        let mut tries = 0;
        loop {
            let tried = ended.run_until_cancelled(attempt(route.clone())).await;
            let failure = match tried.unwrap_or_else(|| Err(Failure::cancelled())) {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            tries += 1;
            let (url, error) = (&route.provider.url, &failure.error);
            tracing::debug!(agent, %model, url, tries, %error, "a try to ask a model failed");
            let pause = match failure.then {
                Then::Stop => return Err(stopped(route, failure)),
                Then::Again(after) if tries <= route.provider.retries => pause(tries, after, chance),
                Then::Again(_) | Then::Next => None,
            };
            let pause = pause.filter(|pause| begun.elapsed() + *pause < TRYING);
            let Some(pause) = pause else {
                told.push(Told { url: url.clone(), tries, failure });
                break;
            };
            if ended.run_until_cancelled(sleep(pause)).await.is_none() {
                return Err(Failure::cancelled());
            }
        }
        if begun.elapsed() >= TRYING {
            break;
        }
    }
    Err(given_up(model, agent, &told))
}

struct Told {
    url: String,
    tries: u32,
    failure: Failure,
}

/// How long to wait before the next try; none if the provider asks for too much.
fn pause(tries: u32, after: Option<Duration>, chance: Chance) -> Option<Duration> {
    let longest = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST_PAUSE);
    let jitter = longest.mul_f64(chance().clamp(0.0, 1.0));
    match after {
        None => Some(jitter),
        Some(after) if after > LONGEST_RETRY_AFTER => None,
        Some(after) => Some(after + jitter.min(FIRST_PAUSE)),
    }
}

fn stopped(route: &Route, failure: Failure) -> Failure {
    let said = |text: String| format!("{}: {text}", route.provider.url);
    let error = match failure.error {
        Error::Rejected(text) => Error::Rejected(said(text)),
        Error::Unavailable(text) => Error::Unavailable(said(text)),
        other => other,
    };
    Failure { error, ..failure }
}

/// What was tried, in the words of each provider's last failure. It is the request's fault only if nobody was away.
fn given_up(model: &ModelName, agent: &str, told: &[Told]) -> Failure {
    let mut text = format!("the model `{model}` did not answer");
    for (at, Told { url, tries, failure }) in told.iter().enumerate() {
        text += if at == 0 { ": " } else { "; then " };
        text += &match tries {
            1 => format!("{url} was asked once: {}", failure.error),
            tries => format!("{url} was asked {tries} times, and at last: {}", failure.error),
        };
    }
    tracing::warn!(agent, "{text}");
    let all_refused = told.iter().all(|told| matches!(told.failure.error, Error::Rejected(_)));
    let error = if all_refused { Error::Rejected(text) } else { Error::Unavailable(text) };
    let silent = told.last().is_some_and(|told| told.failure.silent);
    Failure { error, then: Then::Stop, silent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_eight_seconds_and_are_all_chance() {
        for (tries, most) in
            [(1, 500), (2, 1000), (3, 2000), (4, 4000), (5, 8000), (6, 8000), (u32::MAX, 8000)]
        {
            assert_eq!(pause(tries, None, || 1.0), Some(Duration::from_millis(most)), "{tries}");
            assert_eq!(pause(tries, None, || 0.5), Some(Duration::from_millis(most / 2)), "{tries}");
            assert_eq!(pause(tries, None, || 0.0), Some(Duration::ZERO), "{tries}");
        }
    }

    #[test]
    fn what_a_provider_asks_for_is_waited_and_little_more_unless_it_is_too_long() {
        let after = |seconds, chance| pause(5, Some(Duration::from_secs(seconds)), chance);
        assert_eq!(after(7, || 0.0), Some(Duration::from_secs(7)));
        assert_eq!(after(7, || 1.0), Some(Duration::from_millis(7_500)));
        assert_eq!(after(60, || 0.0), Some(Duration::from_secs(60)));
        assert_eq!(after(61, || 0.0), None);
    }
}
