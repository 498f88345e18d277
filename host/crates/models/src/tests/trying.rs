//! What is tried again, when, and with whom.

use std::time::Duration;

use rookery_outgoing::SendError;
use tokio::time::Instant;

use super::fake::{Play, SECRET, Stage, all, chunks, hello, provider, said, whole};
use crate::{Delta, Dialect, Error, Provider};

fn refused() -> Play {
    Play::fails(SendError::ConnectionRefused)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_after_growing_pauses() {
    let stage = Stage::new(vec![vec![refused(), Play::status(503), whole(&["hello"])]]);
    let begun = Instant::now();
    assert_eq!(said(stage.chat()).await, ("hello".into(), None));
    assert_eq!(stage.logs[0].seconds(begun), [0.0, 0.5, 1.5]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_provider_asks_for_is_heeded() {
    let limited = Play::status(429).header("retry-after", "7");
    let stage = Stage::with(vec![(provider(1), vec![limited, whole(&["hello"])])], || 0.0);
    let begun = Instant::now();
    assert_eq!(said(stage.chat()).await.0, "hello");
    assert_eq!(stage.logs[0].seconds(begun), [0.0, 7.0]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_for_too_long_a_pause_is_passed_over() {
    let limited = Play::status(429).header("retry-after", "3600");
    let stage = Stage::new(vec![vec![limited], vec![whole(&["hello"])]]);
    let begun = Instant::now();
    assert_eq!(said(stage.chat()).await.0, "hello");
    assert_eq!(stage.logs[1].seconds(begun), [0.0]);
}

#[tokio::test(start_paused = true)]
async fn when_all_tries_are_used_up_the_next_provider_is_asked_and_the_last_one_says_what_was_tried() {
    let away = || Play::status(500).then(0, r#"{"error":{"message":"The engine is away"}}"#);
    let stage = Stage::new(vec![vec![refused(), refused(), refused()], vec![away(), away(), away()]]);
    let (text, failed) = said(stage.chat()).await;
    let expected = "the model `fast` did not answer: http://p1/v1 was asked 3 times, and at last: the connection \
                    was refused; then http://p2/v1 was asked 3 times, and at last: the provider answered 500 \
                    Internal Server Error: The engine is away";
    assert_eq!((text.as_str(), failed), ("", Some(Error::Unavailable(expected.into()))));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_provider_does_not_take_is_tried_nowhere_else_and_its_word_reaches_the_author() {
    for status in [400, 413, 422] {
        let body = format!(r#"{{"error":{{"message":"no `seed` for {SECRET}, please"}}}}"#);
        let stage = Stage::new(vec![vec![Play::status(status).then(0, &body)], vec![]]);
        let (_, failed) = said(stage.chat()).await;
        let Some(Error::Rejected(text)) = failed else { panic!("{status}: {failed:?}") };
        assert!(
            text.starts_with("http://p1/v1: the provider answered 4")
                && text.ends_with(": no `seed` for …, please")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_taken_is_the_next_providers_chance() {
    for status in [401, 402, 403, 404] {
        let stage = Stage::new(vec![vec![Play::status(status)], vec![whole(&["hello"])]]);
        assert_eq!(said(stage.chat()).await, ("hello".into(), None), "{status}");

        let alone = Stage::new(vec![vec![Play::status(status)]]);
        assert!(matches!(said(alone.chat()).await.1, Some(Error::Rejected(_))), "{status}");
    }
    let away = (Provider { retries: 0, ..provider(2) }, vec![Play::status(503)]);
    let stage = Stage::with(vec![(provider(1), vec![Play::status(401)]), away], || 1.0);
    assert!(matches!(said(stage.chat()).await.1, Some(Error::Unavailable(_))), "one of them may come back");
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_first_delta_is_a_failed_try_and_after_it_the_end() {
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let stage = Stage::new(vec![vec![Play::says(overloaded), whole(&["hello"])]]);
    assert_eq!(said(stage.chat()).await, ("hello".into(), None));

    let stage = Stage::new(vec![vec![Play::says(&chunks(&["hel"])).then(1, overloaded)], vec![]]);
    let (text, failed) = said(stage.chat()).await;
    let expected = "the provider broke off, and said: Overloaded";
    assert_eq!((text.as_str(), failed), ("hel", Some(Error::Unavailable(expected.into()))));
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_a_first_word_is_given_up_in_its_time_and_pings_do_not_help_it() {
    let mut thinking = Play::says(": hi\n\n");
    for _ in 0..100 {
        thinking = thinking.then(10, ": OPENROUTER PROCESSING\n\n");
    }
    let first_token = provider(1).timeouts.first_token;
    for play in [thinking, Play::status(200).after(10_000)] {
        let stage = Stage::new(vec![vec![play], vec![whole(&["hello"])]]);
        let begun = Instant::now();
        assert_eq!(said(stage.chat()).await, ("hello".into(), None));
        assert_eq!(stage.logs[1].seconds(begun), [first_token.as_secs_f64()], "neither early nor late");
    }
    let stage = Stage::new(vec![vec![Play::says("").then_nothing()]]);
    let mut answer = stage.chat();
    let deltas = answer.next().await.expect("its end");
    assert!(
        matches!(&deltas[..], [Delta::Failed(Error::Unavailable(text))] if text.contains("no first word for 300s"))
    );
    assert!(answer.fell_silent());
}

#[tokio::test(start_paused = true)]
async fn of_an_error_as_much_is_read_as_a_person_reads_and_no_longer_than_that_is_worth() {
    let endless = Play::status(400).then(0, &"x".repeat(20_000)).then(3600, "y");
    let silent = Play::status(400).then(0, "no").then_nothing();
    for (play, expected, seconds) in [(endless, "xxxx", 0), (silent, "no", 10)] {
        let begun = Instant::now();
        let failed = said(Stage::new(vec![vec![play]]).chat()).await.1.expect("a failure").to_string();
        assert!(failed.contains(expected) && failed.len() < 700, "{failed}");
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn no_try_begins_after_ten_minutes() {
    let slow = || Play::status(503).after(250);
    let stage =
        Stage::with(vec![(Provider { retries: 10, ..provider(1) }, vec![slow(), slow(), slow()])], || 0.0);
    let begun = Instant::now();
    assert!(matches!(said(stage.chat()).await.1, Some(Error::Unavailable(_))));
    assert_eq!(stage.logs[0].seconds(begun), [0.0, 250.0, 500.0]);
    assert_eq!(begun.elapsed(), Duration::from_secs(750));
}

#[tokio::test(start_paused = true)]
async fn a_fallback_of_another_dialect_is_asked_in_its_own_words() {
    let claude = Provider::new(Dialect::Anthropic, "http://p2/", "claude");
    let stream = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n\
                  data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\n\
                  data: {\"type\":\"message_stop\"}\n\n";
    let stage =
        Stage::with(vec![(provider(1), vec![Play::status(404)]), (claude, vec![Play::says(stream)])], || 1.0);
    assert_eq!(said(stage.chat()).await, ("hello".into(), None));
    let (first, second) = (&stage.logs[0].all()[0], &stage.logs[1].all()[0]);
    assert_eq!(
        (first.path.as_str(), second.path.as_str()),
        ("http://p1/v1/chat/completions", "http://p2/v1/messages")
    );
    assert_eq!((&first.body["model"], &second.body["model"]), (&"model-1".into(), &"claude".into()));
    assert_eq!(second.body["max_tokens"], 4096);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_at_once_to_be_in_vain_is_an_error_at_once() {
    let stage = Stage::new(vec![vec![]]);
    let mut empty = hello();
    empty.messages.clear();
    assert!(matches!(stage.granted.chat(None, empty, stage.ended.clone()).err(), Some(Error::Rejected(_))));
    let other = stage.granted.chat(Some("smart"), hello(), stage.ended.clone()).err();
    let expected = "the model `smart` is not granted to `chat`; granted are `fast`";
    assert_eq!(other, Some(Error::NotGranted(expected.into())));
    stage.ended.cancel();
    assert_eq!(stage.granted.chat(None, hello(), stage.ended.clone()).err(), Some(Error::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_tried_again_and_a_fallback_has_to_be_the_same_model() {
    let vectors = r#"{"data":[{"index":0,"embedding":[0.5]}],"model":"model-1","usage":{"prompt_tokens":2}}"#;
    let other = Provider { model: "model-2".into(), ..provider(2) };
    let claude = Provider::new(Dialect::Anthropic, "http://p4", "model-1");
    let stage = Stage::with(
        vec![
            (provider(1), vec![Play::status(503), refused(), Play::status(500)]),
            (other, vec![]),
            (provider(3), vec![Play::status(200).then(1, vectors)]),
            (claude.clone(), vec![]),
        ],
        || 1.0,
    );
    let embedded = stage.granted.embed(None, vec!["hello".into()], stage.ended.clone()).expect("begun");
    let embedded = embedded.await.expect("vectors");
    assert_eq!((embedded.vectors, embedded.usage.input_tokens), (vec![vec![0.5]], 2));
    let asked = &stage.logs[2].all()[0];
    assert_eq!(asked.path, "http://p3/v1/embeddings");
    assert_eq!(
        asked.body,
        serde_json::json!({ "model": "model-1", "input": ["hello"], "encoding_format": "float" })
    );

    let claude = Stage::with(vec![(claude, vec![])], || 1.0);
    let refused = claude.granted.embed(None, vec!["hello".into()], claude.ended.clone()).err();
    assert!(
        matches!(refused, Some(Error::Rejected(text)) if text.contains("Anthropic's API has no embeddings"))
    );
}

#[tokio::test(start_paused = true)]
async fn all_of_an_answer_comes_with_its_usage_before_its_end() {
    let stage = Stage::new(vec![vec![whole(&["hel", "", "lo"])]]);
    let deltas = all(stage.chat()).await;
    let [Delta::Text(one), Delta::Text(two), usage, Delta::Ended(_)] = &deltas[..] else {
        panic!("{deltas:?}")
    };
    assert_eq!((one.as_str(), two.as_str(), usage), ("hel", "lo", &super::fake::usage(7, 3)));
}
