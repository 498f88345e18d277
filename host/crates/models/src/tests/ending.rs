//! The end of a run, and an answer that nobody wants any more, end what was begun.

use std::time::Duration;

use rookery_outgoing::SendError;
use tokio::time::{Instant, sleep, timeout};

use super::fake::{Play, Stage, chunks, said};
use crate::{Answer, Error};

#[tokio::test(start_paused = true)]
async fn the_end_of_the_run_ends_an_answer_that_has_not_begun() {
    for plays in [
        vec![Play::status(200).after(100)],
        vec![Play::says("").then_nothing()],
        vec![Play::status(503).header("retry-after", "50")],
    ] {
        let stage = Stage::new(vec![plays]);
        let (begun, answer, ended) = (Instant::now(), stage.chat(), stage.ended.clone());
        let end = async move {
            sleep(Duration::from_secs(3)).await;
            ended.cancel();
        };
        let (said, ()) = tokio::join!(said(answer), end);
        assert_eq!(said, (String::new(), Some(Error::Cancelled)));
        assert_eq!(begun.elapsed(), Duration::from_secs(3), "at once");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_run_ends_an_answer_that_has_begun() {
    let play = Play::says(&chunks(&["hel"])).then_fails(SendError::Cancelled);
    assert_eq!(said(Stage::new(vec![vec![play]]).chat()).await, ("hel".into(), Some(Error::Cancelled)));
}

#[tokio::test(start_paused = true)]
async fn dropping_an_answer_ends_the_providers_request_in_whatever_state_it_is() {
    let plays = [Play::status(200).after(10_000), Play::says(&chunks(&["hel"])).then_nothing()];
    for play in plays {
        let stage = Stage::new(vec![vec![play]]);
        let mut answer: Answer = stage.chat();
        let _ = timeout(Duration::from_secs(1), answer.next()).await;
        let mut alive = stage.logs[0].all()[0].alive.clone();
        assert!(alive.has_changed().is_ok());
        drop(answer);
        timeout(Duration::from_secs(1), alive.changed()).await.expect("dropped").expect_err("without a word");
    }
}
