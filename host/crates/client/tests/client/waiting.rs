//! How long the client waits, by a clock that stands still until everybody waits.

use std::time::Duration;

use rookery_client::{Broken, ClientError, Run, Update};
use rookery_core::Span;
use tokio::time::Instant;

use crate::host::{Answer, Host, alice, problem, run, stream};

const FIRST: &str = "id: 1\ndata: a\n\n";
const LAST: &str = "event: done\nid: 2\ndata: {}\n\n";
const SILENCE: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(120);

/// What the client says of a link that broke.
async fn reconnecting(run: &mut Run) -> (u32, ClientError) {
    match run.next().await.unwrap().unwrap() {
        Update::Reconnecting { attempt, error } => (attempt, error),
        update => panic!("{update:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_on_which_nothing_comes_is_broken_after_45_seconds() {
    let host = Host::play(|request| match request.is_post() {
        true => Answer::Hold(stream(FIRST)),
        false => Answer::Close(stream(LAST)),
    });
    let mut run = host.await.client().prompt(&alice(), "hello").await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    let waited = Instant::now();
    let (attempt, error) = reconnecting(&mut run).await;
    assert!(matches!(error, ClientError::Broken(Broken::Silent(SILENCE))), "{error:?}");
    assert_eq!((attempt, waited.elapsed().as_secs()), (1, SILENCE.as_secs()));
    assert!(matches!(run.next().await, Some(Ok(Update::Done { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_comment_now_and_then_keeps_a_link_that_has_nothing_to_tell() {
    let host = Host::play(|_| Answer::Repeat(stream(FIRST), b": keep-alive\n\n", Duration::from_secs(15)));
    let mut run = host.await.client().prompt(&alice(), "hello").await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    let hour = tokio::time::timeout(Duration::from_secs(3_600), run.next()).await;
    assert!(hour.is_err(), "{hour:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_a_prompt_is_not_waited_for_longer_than_a_silent_link() {
    let host = Host::play(|_| Answer::Hold(Vec::new())).await;
    let waited = Instant::now();
    let error = host.client().prompt(&alice(), "hello").await.map(drop).unwrap_err();
    assert!(matches!(error, ClientError::Unanswered { .. }), "{error:?}");
    assert_eq!(waited.elapsed().as_secs(), SILENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn waits_grow_from_100_milliseconds_to_5_seconds_and_end_after_2_minutes_without_anything_new() {
    let host = Host::play(|request| match request.is_post() {
        true => Answer::Close(stream(FIRST)),
        false => problem(503, "overloaded"),
    });
    let mut run = host.await.client().prompt(&alice(), "hello").await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    let broke = Instant::now();
    let mut last = broke;
    let mut bound = Duration::from_millis(100);
    let error = loop {
        match run.next().await.unwrap() {
            Ok(Update::Reconnecting { attempt: 1, .. }) => {}
            Ok(Update::Reconnecting { .. }) => {
                // A timer may be a millisecond late.
                let waited = last.elapsed();
                assert!(waited <= bound + Duration::from_millis(1), "{waited:?} of {bound:?}");
                bound = (bound * 2).min(Duration::from_secs(5));
            }
            Ok(update) => panic!("{update:?}"),
            Err(error) => break error,
        }
        last = Instant::now();
    };
    let waited = broke.elapsed();
    assert!((PATIENCE..PATIENCE + Duration::from_millis(2)).contains(&waited), "{waited:?}");
    let ClientError::GaveUp { run: id, seen: 1, patience: Span(PATIENCE), last } = error else {
        panic!("{error:?}");
    };
    assert_eq!(id, run.id());
    assert!(matches!(*last, ClientError::Problem(problem) if problem.code == "overloaded"));
    assert!(run.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn something_new_makes_the_client_patient_again() {
    // Every twentieth answer brings one event more: together longer than patience, each time shorter.
    let mut answers = 0;
    let host = Host::play(move |request| {
        answers += 1;
        let next = request.after() + 1;
        match (answers % 20, next) {
            (1, 8) => Answer::Close(stream("event: done\nid: 8\ndata: {}\n\n")),
            (1, _) => Answer::Close(stream(&format!("id: {next}\ndata: x\n\n"))),
            _ => Answer::Close(stream("")),
        }
    });
    let mut run = host.await.client().follow(run(), 0);
    let began = Instant::now();
    let mut firsts = 0;
    while let Some(update) = run.next().await {
        firsts += u32::from(matches!(update.unwrap(), Update::Reconnecting { attempt: 1, .. }));
    }
    assert_eq!((run.seen(), firsts), (8, 7), "attempts are counted anew after each event");
    assert!(began.elapsed() > PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_lived_is_no_trouble_however_quiet_the_run_is() {
    // A proxy that allows a connection a minute, and a run that thinks for an hour.
    let mut links = 0;
    let host = Host::play(move |_| {
        links += 1;
        match links {
            60 => Answer::Close(stream("event: done\nid: 1\ndata: {}\n\n")),
            _ => Answer::Proxied(stream(""), b": keep-alive\n\n", Duration::from_secs(15), 4),
        }
    });
    let mut run = host.await.client().follow(run(), 0);
    let began = Instant::now();
    while let Some(update) = run.next().await {
        assert!(
            matches!(update, Ok(Update::Reconnecting { attempt: 1, .. } | Update::Done { .. })),
            "{update:?}"
        );
    }
    assert!(began.elapsed() > Duration::from_secs(59 * 45), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_for_the_next_event_that_is_dropped_loses_nothing() {
    let host = Host::play(|request| match request.is_post() {
        true => Answer::Close(stream(FIRST)),
        false => Answer::Repeat(stream("id: 2"), b"\ndata: x", Duration::from_secs(7)),
    });
    let mut run = host.await.client().prompt(&alice(), "hello").await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    let mut updates = 0;
    for _ in 0..1_000 {
        updates += usize::from(tokio::time::timeout(Duration::from_millis(50), run.next()).await.is_ok());
    }
    assert_eq!(updates, 1, "one link broke, and the next one was never given up");
}
