//! Alarms: the agent sets one, sleeps, and is woken by it; what it says then is a run of its own, which anybody can follow.

wit_bindgen::generate!({
    inline: "
        package example:reminder;
        world reminder {
            include rookery:agent/plugin@0.1.0;
            export rookery:agent/alarm@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::rookery::agent::alarm::{self, Ringing};
use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::schedule::{self, Alarm, Error, Missed, Timing};
use rookery::agent::types::Chunk;

struct Reminder;

impl Guest for Reminder {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let text = prompt.text.trim();
        let done = match text.split_once(' ').unwrap_or((text, "")) {
            ("list", "") => list(&reply),
            ("cancel", what) => schedule::cancel(what).map(|_| ()),
            (seconds, what) if !what.is_empty() => match seconds.parse::<u64>() {
                Ok(seconds) => remind(seconds, what),
                Err(_) => return Err(usage()),
            },
            _ => return Err(usage()),
        };
        done.map_err(|error| match error {
            Error::Invalid(why) => Failure::Rejected(why),
            Error::TooMany => Failure::Rejected("there are too many; cancel some".into()),
            Error::Storage(error) => Failure::Unavailable(format!("{error:?}")),
        })
    }
}

impl alarm::Guest for Reminder {
    async fn ring(ringing: Ringing, reply: Reply) -> Result<(), Failure> {
        say(&reply, &format!("it is time: {}", ringing.name));
        Ok(())
    }
}

fn usage() -> Failure {
    Failure::Rejected("say `<seconds> <what>`, `list` or `cancel <what>`".into())
}

/// One reminder for each thing: setting it again moves it.
fn remind(seconds: u64, what: &str) -> Result<(), Error> {
    schedule::set(&Alarm {
        name: what.into(),
        timing: Timing::After(seconds.saturating_mul(1_000)),
        payload: String::new(),
        // Better late than never.
        missed: Missed::RingOnce,
    })
    .map(drop)
}

fn list(reply: &Reply) -> Result<(), Error> {
    for pending in schedule::list(None, 100)? {
        say(reply, &format!("{}\n", pending.alarm.name));
    }
    Ok(())
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

export!(Reminder);
