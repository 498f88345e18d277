//! Child processes: they start from the given environment, and their output arrives line by line.
//!
//! Promises: both pipes are read while the child runs, so it is never stuck on a full one; a child does not
//! outlive the call that started it, even when that panics.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::{Environment, Error};

/// A full channel slows the child down and loses nothing. A few dozen lines keep two readers and one caller busy.
const LINES_IN_FLIGHT: usize = 64;

/// One line of a child's output.
pub(crate) enum Line {
    Out(String),
    Err(String),
}

/// A command in `folder` that sees `environment` and nothing else.
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path, environment: &Environment) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().envs(environment.iter());
    command
}

/// Runs to the end and gives what was written to standard output; what was written to standard error is for the
/// message when it failed.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let (mut out, mut err) = (String::new(), String::new());
    let status = follow(command, |line| {
        let (text, line) = match line {
            Line::Out(line) => (&mut out, line),
            Line::Err(line) => (&mut err, line),
        };
        text.push_str(&line);
        text.push('\n');
    })?;
    if status.success() {
        return Ok(out);
    }
    let said = if err.trim().is_empty() { status.to_string() } else { err.trim().to_owned() };
    Err(Error::Failed { command: describe(command), said })
}

/// Runs to the end, passing each line on as it comes.
pub(crate) fn follow(command: &mut Command, mut each: impl FnMut(Line)) -> Result<ExitStatus, Error> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(spawned.map_err(|source| Error::Run { program: program(command), source })?);

    let (lines, arriving) = sync_channel(LINES_IN_FLIGHT);
    let (out, err) = (running.0.stdout.take(), running.0.stderr.take());
    thread::scope(|scope| {
        let out_lines = lines.clone();
        scope.spawn(move || forward(out, Line::Out, &out_lines));
        scope.spawn(move || forward(err, Line::Err, &lines));
        arriving.into_iter().for_each(&mut each);
    });
    running.0.wait().map_err(|source| Error::Run { program: program(command), source })
}

fn forward(pipe: Option<impl Read>, wrap: fn(String) -> Line, lines: &SyncSender<Line>) {
    let Some(pipe) = pipe else { return };
    for line in BufReader::new(pipe).split(b'\n').map_while(io::Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        if lines.send(wrap(line)).is_err() {
            return;
        }
    }
}

/// `cargo build` and the like, for messages.
pub(crate) fn describe(command: &Command) -> String {
    let first = command.get_args().next().map(OsStr::to_string_lossy);
    first.map_or_else(|| program(command), |first| format!("{} {first}", program(command)))
}

fn program(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

/// Ends the child when the caller is gone.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the child has ended and been waited for, which is the usual case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let environment = [("PATH".into(), "/usr/bin:/bin".into())].into_iter().collect();
        let mut command = command("sh", Path::new("/"), &environment);
        command.args(["-c", script]);
        command
    }

    #[test]
    fn more_than_a_pipe_holds_on_both_sides_is_read_whole() {
        let (mut out, mut err) = (0, 0);
        let script = "i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
        let status = follow(&mut shell(script), |line| match line {
            Line::Out(_) => out += 1,
            Line::Err(_) => err += 1,
        })
        .unwrap();
        assert!(status.success());
        assert_eq!((out, err), (20_000, 20_000));
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = output(&mut shell("echo nearly >&2; exit 3")).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c` failed: nearly");
    }

    #[test]
    fn a_silent_failure_says_how_it_ended() {
        let error = output(&mut shell("exit 3")).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c` failed: exit status: 3");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error =
            output(&mut command("no-such-program", Path::new("/"), &Environment::default())).unwrap_err();
        assert!(error.to_string().starts_with("could not run `no-such-program`"), "{error}");
    }
}
