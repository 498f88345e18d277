//! A run's events come once each and in order, wherever the link breaks.

use rookery_client::{Broken, ClientError, Run, Update};

use crate::host::{self, Answer, Host, RUN, alice, chunked, hasty, problem, run, stream};

/// Five events with all that makes cutting hard: several lines, several bytes a character, comments between.
const EVENTS: [&str; 5] = [
    "id: 1\ndata: Hé\ndata: llo\n\n: keep-alive\n\n",
    "event: reasoning\nid: 2\ndata: {\"text\":\"…\"}\n\n",
    "id: 3\ndata: \n\n",
    "id: 4\ndata:  🦀\n\n",
    "event: done\nid: 5\ndata: {\"run\":\"018f3f5e-0000-7000-8000-000000000001\"}\n\n",
];

/// Everything that came, as lines; reconnections are left out.
async fn all(run: &mut Run) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(update) = run.next().await {
        lines.extend(update.unwrap().json(run.seen()));
    }
    lines
}

fn expected() -> Vec<String> {
    [
        r#"{"id":1,"event":"text","data":"Hé\nllo"}"#,
        r#"{"id":2,"event":"reasoning","data":{"text":"…"}}"#,
        r#"{"id":3,"event":"text","data":""}"#,
        r#"{"id":4,"event":"text","data":" 🦀"}"#,
        r#"{"id":5,"event":"done","data":{"run":"018f3f5e-0000-7000-8000-000000000001"}}"#,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn parts(after: u64) -> &'static [&'static str] {
    &EVENTS[usize::try_from(after).unwrap()..]
}

#[tokio::test]
async fn a_prompts_stream_may_be_cut_at_every_byte_and_each_event_comes_once() {
    for whole in [stream(&EVENTS.concat()), chunked(&EVENTS)] {
        let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        for cut in head..whole.len() {
            let first = whole[..cut].to_vec();
            let host = Host::play(move |request| match request.is_post() {
                true => Answer::Close(first.clone()),
                false => Answer::Close(chunked(parts(request.after()))),
            });
            let host = host.await;
            let mut run = host.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
            assert_eq!(all(&mut run).await, expected(), "cut at {cut}");
            assert!(host.lines().len() <= 2, "cut at {cut}: {:?}", host.lines());
        }
    }
}

#[tokio::test]
async fn a_resumed_stream_may_be_cut_at_every_byte_too_even_in_its_head() {
    let whole = chunked(&EVENTS[1..]);
    for cut in 0..whole.len() {
        let (mut resumed, second) = (false, whole[..cut].to_vec());
        let host = Host::play(move |request| {
            if request.is_post() {
                return Answer::Close(stream(EVENTS[0]));
            }
            match std::mem::replace(&mut resumed, true) {
                false => Answer::Close(second.clone()),
                true => Answer::Close(chunked(parts(request.after()))),
            }
        });
        let mut run = host.await.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
        assert_eq!(all(&mut run).await, expected(), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_every_byte_still_comes_to_its_end() {
    // Each link brings one byte more of the same event than the last one did.
    let mut bytes = 0;
    let host = Host::play(move |request| {
        let rest = parts(request.after()).concat();
        bytes = (bytes + 1) % 100;
        Answer::Close(stream("").into_iter().chain(rest.into_bytes().into_iter().take(bytes)).collect())
    });
    let mut run = host.await.client_with(hasty()).follow(run(), 0);
    assert_eq!(all(&mut run).await, expected());
}

#[tokio::test]
async fn an_event_that_comes_again_is_not_told_again() {
    let host = Host::play(|request| match request.after() {
        0 => Answer::Close(stream(&EVENTS[..3].concat())),
        // Starts from the beginning whatever was asked for.
        _ => Answer::Close(stream(&EVENTS.concat())),
    });
    let mut run = host.await.client_with(hasty()).follow(run(), 0);
    assert_eq!(all(&mut run).await, expected());
}

#[tokio::test]
async fn an_outcome_that_a_crash_gave_a_number_seen_before_is_still_the_outcome() {
    let host = Host::play(|request| match request.is_post() {
        true => Answer::Close(stream(&EVENTS[..4].concat())),
        false => Answer::Close(stream(
            "event: error\nid: 3\ndata: {\"status\":503,\"code\":\"interrupted\",\"detail\":\"\"}\n\n",
        )),
    });
    let mut run = host.await.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
    let lines = all(&mut run).await;
    assert_eq!(lines[..4], expected()[..4]);
    assert!(lines[4].contains("interrupted") && lines.len() == 5, "{lines:?}");
}

#[tokio::test]
async fn an_outcome_is_found_even_where_it_bears_the_number_of_the_last_event_seen() {
    let host = Host::play(|request| match request.line.rsplit('=').next() {
        Some("4") => host::nothing_after(),
        Some("3") => Answer::Close(stream("event: done\nid: 4\ndata: {}\n\n")),
        _ => Answer::Close(stream(&EVENTS[..4].concat())),
    });
    let mut run = host.await.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
    let lines = all(&mut run).await;
    assert_eq!(lines[..4], expected()[..4]);
    assert_eq!(lines[4..], [r#"{"id":4,"event":"done","data":{}}"#]);
}

#[tokio::test]
async fn an_event_that_is_missing_is_asked_for_again() {
    let mut first = true;
    let host = Host::play(move |request| match std::mem::replace(&mut first, false) {
        true => Answer::Close(stream(&[EVENTS[0], EVENTS[2]].concat())),
        false => Answer::Close(stream(&parts(request.after()).concat())),
    });
    let mut run = host.await.client_with(hasty()).follow(run(), 0);
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    let gap = run.next().await.unwrap().unwrap();
    let Update::Reconnecting { attempt: 1, error: ClientError::Broken(Broken::Gap { due: 2, came: 3 }) } =
        gap
    else {
        panic!("{gap:?}");
    };
    assert_eq!(all(&mut run).await, expected()[1..]);
}

#[tokio::test]
async fn a_run_that_was_seen_to_its_end_has_nothing_more() {
    let host = Host::play(|_| host::nothing_after()).await;
    let mut run = host.client().follow(run(), 5);
    assert!(run.next().await.is_none());
    assert!(run.next().await.is_none());
    assert_eq!(host.lines(), [format!("GET /runs/{RUN}?after=5")]);
}

#[tokio::test]
async fn an_error_event_is_the_last_one_and_says_why() {
    let host = Host::play(|_| {
        let document = r#"{"title":"","status":503,"code":"unavailable","detail":"the model is away"}"#;
        Answer::Hold(stream(&format!("event: error\nid: 1\ndata: {document}\n\n")))
    });
    let host = host.await;
    let mut run = host.client().prompt(&alice(), "hello").await.unwrap();
    let failed = run.next().await.unwrap().unwrap();
    let Update::Failed { problem, .. } = failed else { panic!("{failed:?}") };
    assert_eq!((problem.status, problem.code.as_str()), (503, "unavailable"));
    assert_eq!(problem.to_string(), "the model is away (unavailable)");
    assert!(run.next().await.is_none());
    assert_eq!(host.lines().len(), 1, "an outcome is not asked for again");
}

#[tokio::test]
async fn a_run_that_the_host_no_longer_knows_is_an_error_at_once() {
    let host = Host::play(|request| match request.is_post() {
        true => Answer::Close(stream(EVENTS[0])),
        false => problem(404, "unknown-run"),
    });
    let mut run = host.await.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(Update::Text(_)))));
    assert!(matches!(run.next().await, Some(Ok(Update::Reconnecting { attempt: 1, .. }))));
    let error = run.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Problem(problem) if problem.code == "unknown-run"));
    assert!(run.next().await.is_none());
}

#[tokio::test]
async fn a_host_that_cannot_answer_now_is_asked_again_while_resuming() {
    let mut answers = 0;
    let host = Host::play(move |request| {
        answers += 1;
        match answers {
            1 => Answer::Close(stream(EVENTS[0])),
            2 => problem(503, "overloaded"),
            3 => host::document("502 Bad Gateway", "text/html", "<h1>no</h1>"),
            _ => Answer::Close(stream(&parts(request.after()).concat())),
        }
    });
    let mut run = host.await.client_with(hasty()).prompt(&alice(), "hello").await.unwrap();
    assert_eq!(all(&mut run).await, expected());
}

#[tokio::test]
async fn what_is_no_stream_of_a_run_is_never_taken_for_one() {
    let bad: [&[u8]; 5] = [
        b"\xef\xbb\xbfid: 1\ndata: x\n\n",
        b"data: no number\n\n",
        b"id: x\ndata: no number\n\n",
        b"id: 1\ndata: \xff\n\n",
        b"id: 1\nevent: usage\ndata: {\n\n",
    ];
    for bytes in bad {
        let host = Host::play(move |_| Answer::Close([&stream(""), bytes].concat()));
        let mut run = host.await.client_with(hasty()).follow(run(), 0);
        let update = run.next().await.unwrap().unwrap();
        let Update::Reconnecting { error: ClientError::Broken(Broken::Garbled(_)), .. } = update else {
            panic!("{update:?}");
        };
    }
}

#[tokio::test]
async fn a_large_frame_of_small_events_and_an_event_larger_than_a_frame_come_whole() {
    let mut body: String = (1..=5_000).map(|id| format!("id: {id}\ndata: {id}\n\n")).collect();
    let large = "é".repeat(500_000);
    body.push_str(&format!("id: 5001\ndata: {large}\n\nevent: done\nid: 5002\ndata: {{}}\n\n"));
    let host = Host::play(move |_| Answer::Close(stream(&body)));
    let mut run = host.await.client().follow(run(), 0);
    let lines = all(&mut run).await;
    assert_eq!(lines.len(), 5_002);
    assert!(lines[5_000].contains(&large));
}
