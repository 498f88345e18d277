//! How long a request may wait for what.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::SendError;

/// The host's bounds, or a plugin's. A guest may ask for less, never for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection is there: name lookup, TCP and TLS together.
    pub connect: Duration,
    /// From then until the head of the response. The upload is part of this time.
    pub first_byte: Duration,
    /// From one piece of the response's body to the next, while somebody waits for it.
    pub between_bytes: Duration,
}

impl Default for Timeouts {
    /// Ten seconds are three lost packets while connecting. A model that thinks before it answers, without
    /// streaming, takes minutes for its first byte; ten are what wasi:http clients expect. One that streams
    /// sends something every few seconds, so five minutes of silence are a dead link.
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(600),
            between_bytes: Duration::from_secs(300),
        }
    }
}

/// What a plugin or a guest asks for; `None` is what holds without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskedTimeouts {
    /// See [`Timeouts::connect`].
    pub connect: Option<Duration>,
    /// See [`Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`Timeouts::between_bytes`].
    pub between_bytes: Option<Duration>,
}

impl Timeouts {
    /// A plugin's bounds: who runs the host may give it more than others, or less.
    pub(crate) fn replaced(self, asked: AskedTimeouts) -> Timeouts {
        Timeouts {
            connect: asked.connect.unwrap_or(self.connect),
            first_byte: asked.first_byte.unwrap_or(self.first_byte),
            between_bytes: asked.between_bytes.unwrap_or(self.between_bytes),
        }
    }

    pub(crate) fn shortened(self, asked: AskedTimeouts) -> Timeouts {
        let shorter = |bound: Duration, asked: Option<Duration>| asked.unwrap_or(bound).min(bound);
        Timeouts {
            connect: shorter(self.connect, asked.connect),
            first_byte: shorter(self.first_byte, asked.first_byte),
            between_bytes: shorter(self.between_bytes, asked.between_bytes),
        }
    }
}

/// Waits for the head of a response: first for `connected`, then for `response` itself, each in its time.
pub(crate) async fn head<T>(
    connected: impl Future<Output = ()>,
    response: impl Future<Output = Result<T, SendError>>,
    timeouts: Timeouts,
    ended: &CancellationToken,
) -> Result<T, SendError> {
    tokio::pin!(response);
    tokio::select! {
        biased;
        () = ended.cancelled() => return Err(SendError::Cancelled),
        response = &mut response => return response,
        () = connected => {}
        () = sleep(timeouts.connect) => return Err(SendError::ConnectTimeout),
    }
    tokio::select! {
        biased;
        () = ended.cancelled() => Err(SendError::Cancelled),
        response = &mut response => response,
        () = sleep(timeouts.first_byte) => Err(SendError::FirstByteTimeout),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Instant, timeout};

    use super::*;

    const BOUND: Timeouts = Timeouts {
        connect: Duration::from_secs(1),
        first_byte: Duration::from_secs(2),
        between_bytes: Duration::from_secs(3),
    };

    async fn wait(
        connected: impl Future<Output = ()>,
        response: impl Future<Output = Result<u8, SendError>>,
    ) -> Result<u8, SendError> {
        // The hour is for a wait that has lost its end: the test is to fail and not to hang.
        let ended = CancellationToken::new();
        timeout(Duration::from_secs(3600), head(connected, response, BOUND, &ended)).await.expect("an end")
    }

    #[test]
    fn a_guest_may_ask_for_less_and_not_for_more() {
        let asked = AskedTimeouts {
            connect: Some(Duration::from_millis(1)),
            first_byte: Some(Duration::MAX),
            between_bytes: None,
        };
        let expected = Timeouts { connect: Duration::from_millis(1), ..BOUND };
        assert_eq!(BOUND.shortened(asked), expected);
        let plugins = Timeouts { first_byte: Duration::MAX, ..expected };
        assert_eq!(BOUND.replaced(asked), plugins, "its sidecar is written by who runs the host");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_come_is_given_up_in_its_time() {
        let begun = Instant::now();
        assert!(matches!(wait(pending(), pending()).await, Err(SendError::ConnectTimeout)));
        assert_eq!(begun.elapsed(), BOUND.connect, "neither early nor late");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_has_its_own_time_from_the_connection_on() {
        let begun = Instant::now();
        let connected = sleep(Duration::from_millis(900));
        assert!(matches!(wait(connected, pending()).await, Err(SendError::FirstByteTimeout)));
        assert_eq!(begun.elapsed(), Duration::from_millis(900) + BOUND.first_byte, "neither early nor late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_in_its_time_is_passed_on() {
        let late = async {
            sleep(Duration::from_millis(1900)).await;
            Ok(7)
        };
        assert!(matches!(wait(ready(()), late).await, Ok(7)));
        assert!(matches!(wait(pending(), ready(Ok(8))).await, Ok(8)), "before anyone saw a connection");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_ends_either_wait_at_once() {
        for connected in [true, false] {
            let ended = CancellationToken::new();
            let begun = Instant::now();
            let end = async {
                sleep(Duration::from_millis(500)).await;
                ended.cancel();
            };
            let connected = async {
                if !connected {
                    pending().await
                }
            };
            let (outcome, ()) = tokio::join!(head::<()>(connected, pending(), BOUND, &ended), end);
            assert!(matches!(outcome, Err(SendError::Cancelled)));
            assert_eq!(begun.elapsed(), Duration::from_millis(500));
        }
    }
}
