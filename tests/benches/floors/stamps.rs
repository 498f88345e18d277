//! A model whose words are the times at which they left it, so that whoever reads them knows how long they took.
//!
//! The clock is the system's, which all processes of a machine share: a monotonic one cannot be told to another
//! process without unsafe code. It may be set while a bench runs; a median does not notice.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::floor;

/// How many words an answer has.
pub(crate) const WORDS: usize = 64;
/// How long the model takes for the next one.
pub(crate) const PACE: Duration = Duration::from_millis(10);

/// Nanoseconds since a time before all of this.
pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Answers every request with stamps.
pub(crate) async fn serve() {
    floor::serve(|request: Request<Incoming>| async {
        request.into_body().collect().await.unwrap();
        let mut pace = interval_at(Instant::now(), PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut response = Response::new(StreamBody::new(stream::unfold((0, pace), next)));
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        response
    })
    .await;
}

async fn next(
    (said, mut pace): (usize, Interval),
) -> Option<(Result<Frame<Bytes>, Infallible>, (usize, Interval))> {
    let event = match said {
        WORDS => "data: [DONE]\n\n".to_owned(),
        _ if said > WORDS => return None,
        _ => {
            pace.tick().await;
            let delta = format!(r#""delta":{{"content":"{}"}},"finish_reason":null"#, now());
            format!(
                "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,{delta}}}]}}\n\n"
            )
        }
    };
    Some((Ok(Frame::data(event.into())), (said + 1, pace)))
}
