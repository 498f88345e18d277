//! What `rookery dev` does with agents' requests besides sending them: `--record` and `--replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rookery_cassettes::{CassetteError, Cassettes, Recording, Replaying};
use tokio::time::timeout;

use crate::command::Hint;
use crate::terminal::Terminal;

/// How long what is not written yet may take when all runs have ended: a disk writes gigabytes meanwhile.
const LAST_WRITES: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write down what agents ask over HTTP and are answered, with timing and without keys: a file for each agent, in a
    /// folder where there are none yet
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Answer agents' requests from such a folder, and send none; what was not recorded fails
    #[arg(long, value_name = "FOLDER")]
    replay: Option<PathBuf>,
    /// Whether these answers come at once, or take the time that they took when they were recorded
    #[arg(long, value_name = "SPEED", default_value = "instant", requires = "replay")]
    replay_speed: Speed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speed {
    Recorded,
    Instant,
}

impl Options {
    /// Opens what was asked for, and says so.
    pub(crate) fn open(self, terminal: &Terminal) -> anyhow::Result<Option<Cassettes>> {
        let speed = match self.replay_speed {
            Speed::Recorded => rookery_cassettes::Speed::Recorded,
            Speed::Instant => rookery_cassettes::Speed::Instant,
        };
        let (cassettes, line) = match (self.record, self.replay) {
            (Some(folder), _) => {
                let line = format!("recording what agents ask over HTTP to {}", folder.display());
                (Recording::begin(&folder).map(Cassettes::Recording), line)
            }
            (None, Some(folder)) => {
                let line = format!("replaying from {}; agents' requests are not sent", folder.display());
                (Replaying::open(&folder, speed).map(Cassettes::Replaying), line)
            }
            (None, None) => return Ok(None),
        };
        let cassettes = cassettes.map_err(hinted)?;
        terminal.note(&line);
        Ok(Some(cassettes))
    }
}

/// Waits until all that was recorded is written, and says if something is missing.
pub(crate) async fn settle(cassettes: &Cassettes, terminal: &Terminal) {
    let Cassettes::Recording(recording) = cassettes else { return };
    match timeout(LAST_WRITES, recording.settled()).await {
        Ok(0) => {}
        Ok(lost) => terminal.warning(&format!("{lost} requests were not recorded; the log says why"), None),
        Err(_) => terminal.warning("the last requests were not recorded: writing them takes too long", None),
    }
}

fn hinted(error: CassetteError) -> anyhow::Error {
    let hint = Hint::new(error.hint());
    anyhow::Error::new(error).context(hint)
}
