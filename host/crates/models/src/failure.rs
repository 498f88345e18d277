//! Why a try failed, and what that means for the next one.

use std::time::Duration;

use rookery_outgoing::SendError;

use crate::delta::Error;
use crate::events::TooLong;

/// A try that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) then: Then,
    /// Whether the provider fell silent.
    pub(crate) silent: bool,
}

/// What to do after a try that failed, as long as nothing of it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Try again, after what the provider asks for.
    Again(Option<Duration>),
    /// Go on to the next provider.
    Next,
    /// The same again would fail again, anywhere.
    Stop,
}

impl Failure {
    pub(crate) fn new(error: Error, then: Then) -> Failure {
        Failure { error, then, silent: false }
    }

    /// What came is not what a whole answer looks like. Another try may go better.
    pub(crate) fn broken(what: String) -> Failure {
        Failure::new(Error::Unavailable(what), Then::Again(None))
    }

    /// Nothing came for so long. Another try would cost as much again, so it is the next provider's turn.
    pub(crate) fn silent(what: &str, time: Duration) -> Failure {
        let error = Error::Unavailable(format!("{what} for {time:?}"));
        Failure { silent: true, ..Failure::new(error, Then::Next) }
    }

    pub(crate) fn cancelled() -> Failure {
        Failure::new(Error::Cancelled, Then::Stop)
    }

    /// An answer that was cut.
    pub(crate) fn cut(error: &SendError) -> Failure {
        let mut failure = Failure::sending(error);
        if let (Error::Unavailable(text), false) = (&mut failure.error, failure.silent) {
            text.insert_str(0, "the answer broke off: ");
        }
        failure
    }

    /// A request that was not sent, or a response that was cut.
    pub(crate) fn sending(error: &SendError) -> Failure {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text}: {source}");
        }
        let then = match error {
            SendError::Cancelled => return Failure::cancelled(),
            SendError::FirstByteTimeout => return Failure { silent: true, ..unavailable(text, Then::Next) },
            SendError::BetweenBytesTimeout(time) => {
                return Failure::silent("the provider said nothing", *time);
            }
            SendError::BadRequest(_) | SendError::TooManyOpen { .. } | SendError::NotRecorded(_) => {
                Then::Stop
            }
            SendError::Denied { .. } | SendError::AddressDenied { .. } | SendError::TlsCertificate(_) => {
                Then::Next
            }
            _ => Then::Again(None),
        };
        unavailable(text, then)
    }
}

fn unavailable(text: String, then: Then) -> Failure {
    Failure::new(Error::Unavailable(text), then)
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Failure {
        Failure::broken(format!(
            "an event of the stream is larger than {} MiB",
            crate::events::EVENT_LIMIT >> 20
        ))
    }
}
