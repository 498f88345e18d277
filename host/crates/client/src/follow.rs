//! Following one run over as many links as it takes.
//!
//! Promises: an event that came never comes again, and none is passed over; what is missing after a broken link is
//! asked for from the last event that came. The first answer of the host is not insisted on: a run it does not know,
//! or a host that is not there, is an error at once.
//! Bounded by: `Settings::patience` since something new came.

use std::pin::Pin;
use std::time::Duration;

use rookery_core::{RunId, Span};
use tokio::time::{Instant, sleep};

use crate::backoff;
use crate::client::Client;
use crate::error::{Broken, ClientError};
use crate::feed::Feed;
use crate::update::Update;

/// A run that is being followed. Dropping it detaches.
pub struct Run {
    client: Client,
    id: RunId,
    seen: u64,
    link: Link,
    /// The host has answered for this run.
    met: bool,
    trouble: Option<Trouble>,
}

enum Link {
    /// The host is asked for what comes after this event.
    Opening(u64, Opening),
    Open(Feed),
    Over,
}

type Opening = Pin<Box<dyn Future<Output = Result<Option<Feed>, ClientError>> + Send>>;

/// What has been tried since something new came last.
struct Trouble {
    since: Instant,
    attempts: u32,
}

impl Run {
    pub(crate) fn new(client: Client, id: RunId, feed: Feed) -> Self {
        Self { client, id, seen: 0, link: Link::Open(feed), met: true, trouble: None }
    }

    pub(crate) fn resuming(client: Client, id: RunId, seen: u64) -> Self {
        let mut run = Self { client, id, seen, link: Link::Over, met: false, trouble: None };
        run.link = run.opening(seen, Duration::ZERO);
        run
    }

    /// Which run.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The number of the last event that came.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What happens next; None after the outcome, and at once where there is nothing after what was seen. After an
    /// error there is nothing more to come from here, though the run may go on.
    ///
    /// Cancel safe: an event is never lost to a call that was dropped.
    pub async fn next(&mut self) -> Option<Result<Update, ClientError>> {
        loop {
            let error = match &mut self.link {
                Link::Over => return None,
                Link::Opening(after, opening) => match opening.await {
                    Ok(Some(feed)) => {
                        self.met = true;
                        self.link = Link::Open(feed);
                        continue;
                    }
                    // The run is over, and its outcome was not seen: it bears the number of an event that a host lost
                    // when it crashed.
                    Ok(None) if self.met && *after == self.seen && *after > 0 => {
                        let after = *after - 1;
                        self.link = self.opening(after, Duration::ZERO);
                        continue;
                    }
                    Ok(None) => {
                        self.link = Link::Over;
                        return None;
                    }
                    Err(error) => error,
                },
                Link::Open(feed) => match feed.next().await {
                    Ok((id, update)) if id == self.seen + 1 => return Some(Ok(self.came(id, update))),
                    // A host that crashed may have lost the last events that it sent. The outcome it then gives the run
                    // has a number that was seen already, and is new all the same.
                    Ok((id, update)) if id <= self.seen && update.is_outcome() => {
                        return Some(Ok(self.came(id, update)));
                    }
                    // Or one far beyond, so that it is none of theirs.
                    Ok((id, update)) if id > self.seen && is_interruption(&update) => {
                        return Some(Ok(self.came(id, update)));
                    }
                    Ok((id, _)) if id <= self.seen => continue,
                    Ok((came, _)) => Broken::Gap { due: self.seen + 1, came }.into(),
                    Err(broken) => {
                        if feed.lived(&broken) {
                            self.trouble = None;
                        }
                        broken.into()
                    }
                },
            };
            return Some(self.take_up(error));
        }
    }

    fn came(&mut self, id: u64, update: Update) -> Update {
        self.seen = id;
        self.trouble = None;
        if update.is_outcome() {
            self.link = Link::Over;
        }
        update
    }

    /// Has the link taken up again after a while, where that may help.
    fn take_up(&mut self, error: ClientError) -> Result<Update, ClientError> {
        self.link = Link::Over;
        if !self.met || !error.is_passing() {
            return Err(error);
        }
        let settings = self.client.settings;
        let trouble = self.trouble.get_or_insert_with(|| Trouble { since: Instant::now(), attempts: 0 });
        let left = settings.patience.saturating_sub(trouble.since.elapsed());
        if left.is_zero() {
            let (run, seen, patience) = (self.id, self.seen, Span(settings.patience));
            return Err(ClientError::GaveUp { run, seen, patience, last: Box::new(error) });
        }
        trouble.attempts += 1;
        let attempt = trouble.attempts;
        // The last attempt is made when patience ends, not somewhat later.
        let delay = backoff::delay(attempt, settings.first_delay, settings.longest_delay).min(left);
        self.link = self.opening(self.seen, delay);
        Ok(Update::Reconnecting { attempt, error })
    }

    fn opening(&self, after: u64, delay: Duration) -> Link {
        let (client, id) = (self.client.clone(), self.id);
        let opening = async move {
            sleep(delay).await;
            client.open(id, after).await
        };
        Link::Opening(after, Box::pin(opening))
    }
}

/// Whether it says that the host stopped before the run ended.
fn is_interruption(update: &Update) -> bool {
    matches!(update, Update::Failed { problem, .. } if problem.code == "interrupted")
}
