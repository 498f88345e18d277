//! When the writer goes to work.

use tokio::time::Instant;

use super::*;
use crate::queue::{Next, Queue};

const FAR: Duration = Duration::from_secs(3600);

fn writes(next: &Next) -> bool {
    matches!(next, Next::Write(sources) if !sources.is_empty())
}

#[test]
fn who_waits_is_not_kept_until_more_has_gathered() {
    let queue = Queue::default();
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    assert!(writes(&queue.next(now + FAR, now, now + FAR)));
}

#[test]
fn where_many_wait_each_of_them_waits_for_the_others() {
    let queue = Queue::default();
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    let together = now + Duration::from_millis(20);
    assert!(writes(&queue.next(now + FAR, together, now + FAR)));
    assert!(Instant::now() >= together);
    // What has gathered before that is written without waiting for anybody.
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    assert!(writes(&queue.next(now, now + FAR, now + FAR)));
}
