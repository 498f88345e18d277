//! What people see: progress while something takes long, errors with a hint, colours only on a terminal.
//!
//! Answers go to stdout, everything else to stderr.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rookery_builder::Step;

use crate::load::{Loading, Refused};

/// The terminal on stderr, or whatever stands in its place.
pub(crate) struct Terminal {
    colours: bool,
    /// One line at the bottom that changes; hidden where there is no terminal.
    busy: ProgressBar,
    compiling: Mutex<Vec<String>>,
}

const RED: &str = "31;1";
const YELLOW: &str = "33;1";
const GREEN: &str = "32";
const CYAN: &str = "36";

impl Terminal {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let busy = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
            busy.set_style(style);
        }
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { colours, busy, compiling: Mutex::default() }
    }

    /// Whether colours may be used on stderr.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// An answer, for people and programs alike.
    pub(crate) fn answer(&self, line: &str) {
        self.busy.suspend(|| {
            // A reader that has gone away is no reason to stop serving.
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, line: &str) {
        self.busy.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }

    /// Asks a person who is there; only `y` and `yes` are yes. Waits for the answer.
    pub(crate) fn confirm(&self, question: &str) -> std::io::Result<bool> {
        let mut stderr = std::io::stderr();
        write!(stderr, "{question} [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn error(&self, error: &str, hint: Option<&str>) {
        self.complain("error", RED, error, hint);
    }

    /// What is not as it should be, though the work goes on.
    pub(crate) fn warning(&self, warning: &str, hint: Option<&str>) {
        self.complain("warning", YELLOW, warning, hint);
    }

    /// Nothing is being waited for any more.
    pub(crate) fn rest(&self) {
        self.busy.finish_and_clear();
    }

    /// Shows how loading goes.
    pub(crate) fn loading(&self, loading: &Loading<'_>) {
        match loading {
            Loading::Found(_) => {}
            Loading::Began(name) => self.compiling(|names| names.push(name.to_string())),
            Loading::Loaded(name, took) => {
                self.compiling(|names| names.retain(|other| *other != name.to_string()));
                self.note(&format!("{} {name} ({})", self.paint(GREEN, "loaded"), seconds(*took)));
            }
            Loading::Refused(refused) => {
                self.compiling(|names| names.retain(|other| !is_of(refused, other)));
                self.refused(refused);
            }
        }
    }

    /// Shows how building goes.
    pub(crate) fn building(&self, step: &Step) {
        match step {
            Step::Compiling { .. } | Step::Cargo { .. } => self.busy(&step.to_string()),
            Step::Diagnostic { line } => self.note(line),
            step => self.note(&format!("{} {step}", self.paint(CYAN, "dev"))),
        }
    }

    fn refused(&self, refused: &Refused) {
        let kind = if refused.idle { "of no use" } else { "not served" };
        self.warning(&format!("{kind}: {}", refused.error), Some(&refused.hint));
    }

    fn compiling(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut names = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut names);
        match names.is_empty() {
            true => self.rest(),
            false => self.busy(&format!("compiling {}", names.join(", "))),
        }
    }

    fn busy(&self, what: &str) {
        self.busy.reset();
        self.busy.enable_steady_tick(Duration::from_millis(100));
        self.busy.set_message(what.to_owned());
    }

    fn complain(&self, kind: &str, colour: &str, what: &str, hint: Option<&str>) {
        self.note(&format!("{}: {what}", self.paint(colour, kind)));
        if let Some(hint) = hint {
            self.note(&format!("{}: {hint}", self.paint(CYAN, "hint")));
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn is_of(refused: &Refused, name: &str) -> bool {
    refused.file.file_stem().is_some_and(|stem| stem == name)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
