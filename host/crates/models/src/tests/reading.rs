//! What is heard when, once an answer has begun.

use std::time::Duration;

use futures_util::FutureExt;
use rookery_outgoing::SendError;
use tokio::time::{Instant, sleep};

use super::fake::{END, Play, Stage, all, chunks, provider, said, usage, whole};
use crate::{Delta, Ending, Error, Reason};

#[tokio::test(start_paused = true)]
async fn one_poll_hands_over_all_that_is_there_and_waits_for_nothing_more() {
    let stage = Stage::new(vec![vec![
        Play::says(&chunks(&["a", "b"])).then(1, &chunks(&["c"])).then(0, &chunks(&["d", "e"])).then(1, END),
    ]]);
    let mut answer = stage.chat();
    let mut polls = Vec::new();
    while let Some(deltas) = answer.next().await {
        polls.push(deltas.len());
    }
    assert_eq!(polls, [2, 3, 2]);
    assert!(answer.next().await.is_none(), "and nothing after the end");
}

#[tokio::test(start_paused = true)]
async fn silence_between_words_ends_in_its_time_and_pings_do_not_break_it() {
    let silence = provider(1).timeouts.silence;
    let mut play = Play::says(&chunks(&["a"])).then(silence.as_secs() - 1, &chunks(&["b"]));
    for _ in 0..100 {
        play = play.then(10, ": ping\n\n");
    }
    let stage = Stage::new(vec![vec![play], vec![]]);
    let begun = Instant::now();
    let mut answer = stage.chat();
    let mut deltas = Vec::new();
    while let Some(more) = answer.next().await {
        deltas.extend(more);
    }
    assert_eq!(begun.elapsed(), silence * 2 - Duration::from_secs(1), "neither early nor late");
    assert!(answer.fell_silent());
    let [Delta::Text(_), Delta::Text(_), Delta::Usage(usage), Delta::Failed(error)] = &deltas[..] else {
        panic!("{deltas:?}")
    };
    assert!(usage.input_tokens > 0 && usage.output_tokens == 1, "an estimate: {usage:?}");
    assert_eq!(error, &Error::Unavailable("the provider said nothing for 120s".into()));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_nobody_asks_is_not_the_providers() {
    let stage = Stage::new(vec![vec![Play::says(&chunks(&["a"])).then(100, &chunks(&["b"])).then(0, END)]]);
    let mut answer = stage.chat();
    assert!(answer.next().await.is_some());
    assert!(answer.next().now_or_never().is_none(), "it looks once and goes");
    sleep(Duration::from_secs(10_000)).await;
    assert_eq!(answer.next().await.map(|deltas| deltas.len()), Some(3));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_after_the_last_word_is_none_of_the_answer() {
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    let stream = chunks(&["hello"]) + finish;
    for play in [
        Play::says(&stream),
        Play::says(&stream).then_nothing(),
        Play::says(&stream).then_fails(SendError::ConnectionClosed("cut".into())),
    ] {
        let deltas = all(Stage::new(vec![vec![play]]).chat()).await;
        let ending = Delta::Ended(Ending { reason: Reason::Length, state: None });
        assert_eq!(deltas.last(), Some(&ending), "{deltas:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_is_no_end() {
    for (play, what) in [
        (
            Play::says(&chunks(&["hel"])).then_fails(SendError::ConnectionClosed("cut".into())),
            "was closed before",
        ),
        (Play::says(&chunks(&["hel"])), "broke off before its answer was whole"),
        (
            Play::says(&(chunks(&["hel"]) + "data: {\"choices\":[{\"ind")),
            "broke off before its answer was whole",
        ),
        (Play::says(&(chunks(&["hel"]) + "data: {\"choices\":7}\n\n")), "was not understood"),
    ] {
        let (text, failed) = said(Stage::new(vec![vec![play], vec![]]).chat()).await;
        assert_eq!(text, "hel");
        assert!(matches!(&failed, Some(Error::Unavailable(text)) if text.contains(what)), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_answers_all_the_same() {
    let document = r#"{"id":"x","model":"model-1","choices":[{"index":0,"message":{"role":"assistant","content":"hello",
        "reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function","function":{"name":"add","arguments":"{}"}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
    let play = Play::status(200).header("content-type", "application/json; charset=utf-8");
    let (begin, end) = document.split_at(40);
    let deltas = all(Stage::new(vec![vec![play.then(0, begin).then(5, end)]]).chat()).await;
    let [Delta::Reasoning(thought), Delta::Text(text), Delta::ToolCall(call), spent, Delta::Ended(ending)] =
        &deltas[..]
    else {
        panic!("{deltas:?}")
    };
    assert_eq!((thought.as_str(), text.as_str(), call.name.as_str()), ("hm", "hello", "add"));
    assert_eq!((spent, &ending.reason), (&usage(7, 3), &Reason::ToolCalls));
}

#[tokio::test(start_paused = true)]
async fn a_web_page_is_no_answer() {
    let page = Play::status(200).header("content-type", "text/html").then(0, "<html>Log in</html>");
    let stage = Stage::new(vec![vec![page], vec![whole(&["hello"])]]);
    assert_eq!(said(stage.chat()).await, ("hello".into(), None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_given_up() {
    let piece = chunks(&[&"x".repeat(512 * 1024)]);
    let mut play = Play::says(&piece);
    for _ in 0..40 {
        play = play.then(1, &piece);
    }
    let (text, failed) = said(Stage::new(vec![vec![play], vec![]]).chat()).await;
    assert!(text.len() <= 17 * 1024 * 1024, "{}", text.len());
    assert_eq!(failed, Some(Error::Unavailable("the answer is larger than 16 MiB".into())));
}
