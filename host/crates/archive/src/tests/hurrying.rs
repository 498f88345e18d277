//! When the writer goes to work.

use tokio::time::Instant;

use super::*;
use crate::queue::{Next, Pace, Queue};

const FAR: Duration = Duration::from_secs(3600);

/// With a crowd that never comes.
fn pace(gathered: Instant, together: Instant) -> Pace {
    Pace { gathered, together, crowd: usize::MAX }
}

fn writes(next: &Next) -> bool {
    matches!(next, Next::Write(sources) if !sources.is_empty())
}

#[test]
fn who_waits_is_not_kept_until_more_has_gathered() {
    let queue = Queue::default();
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    assert!(writes(&queue.next(pace(now + FAR, now), now + FAR)));
}

#[test]
fn where_many_wait_each_of_them_waits_for_the_others() {
    let queue = Queue::default();
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    let together = now + Duration::from_millis(20);
    assert!(writes(&queue.next(pace(now + FAR, together), now + FAR)));
    assert!(Instant::now() >= together);
    // What has gathered before that is written without waiting for anybody.
    queue.enter(Tape::new("chat/alice"));
    queue.hurry();
    let now = Instant::now();
    assert!(writes(&queue.next(pace(now, now + FAR), now + FAR)));
}

#[test]
fn nobody_waits_any_longer_when_as_many_have_come_as_the_time_before() {
    let queue = Arc::new(Queue::default());
    let (told, hears) = std::sync::mpsc::channel();
    let writer = std::thread::spawn({
        let queue = queue.clone();
        move || {
            let far = Instant::now() + FAR;
            let pace = Pace { gathered: far, together: far, crowd: 3 };
            told.send(writes(&queue.next(pace, far))).unwrap();
        }
    });
    for _ in 0..2 {
        queue.enter(Tape::new("chat/alice"));
        queue.hurry();
    }
    while !queue.sleeps() {
        std::thread::yield_now();
    }
    assert!(hears.try_recv().is_err(), "one is missing");
    queue.enter(Tape::new("chat/alice"));
    assert_eq!(hears.recv_timeout(Duration::from_secs(30)), Ok(true));
    writer.join().unwrap();
}

#[test]
fn a_writer_that_sleeps_is_woken_by_the_first_who_comes_and_by_the_first_who_waits() {
    let queue = Arc::new(Queue::default());
    // Each sleeps far longer than the test waits, unless it is woken.
    for (gathered, hurries) in [(Duration::ZERO, false), (FAR, true)] {
        let (told, hears) = std::sync::mpsc::channel();
        let writer = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let now = Instant::now();
                // Gathered or not, it does not write what is not there.
                told.send(writes(&queue.next(pace(now + gathered, now), now + FAR))).unwrap();
            }
        });
        while !queue.sleeps() {
            std::thread::yield_now();
        }
        queue.enter(Tape::new("chat/alice"));
        if hurries {
            queue.hurry();
        }
        assert_eq!(hears.recv_timeout(Duration::from_secs(30)), Ok(true));
        writer.join().unwrap();
    }
}
