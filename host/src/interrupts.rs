//! Ctrl-c, and the system's word that the program shall end.
//!
//! Promise: from [`Interrupts::listen`] on none of them ends the program by itself and none is lost, also where nobody waits
//! for it at that moment. Until then each ends the program at once, as the system has it.
//! Ends when: never; the program has its own way to end from then on.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// What has come since [`Interrupts::listen`]. Several that nobody looked at in between count as one.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    interrupted: Signal,
    #[cfg(unix)]
    terminated: Signal,
    #[cfg(windows)]
    interrupted: CtrlC,
}

impl Interrupts {
    /// Listens from now on. To be called before anybody is told that the program is there. Fails where the system lets
    /// nobody listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupted: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminated: signal(SignalKind::terminate())?,
            #[cfg(windows)]
            interrupted: ctrl_c()?,
        })
    }

    /// Ready at the next one, at once where one has come already. May be dropped and called again; none is lost.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
        #[cfg(windows)]
        self.interrupted.recv().await;
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn next(interrupts: &mut Interrupts) {
        timeout(Duration::from_secs(60), interrupts.next()).await.expect("it has come already");
    }

    /// Sends this process a signal, and waits until another listener has heard of it: by then all have.
    async fn send(name: &str, kind: SignalKind) {
        let mut heard = signal(kind).unwrap();
        let process = std::process::id().to_string();
        let kill = tokio::process::Command::new("kill").args([name, &process]).status().await.unwrap();
        assert!(kill.success());
        timeout(Duration::from_secs(60), heard.recv()).await.expect("it was sent");
    }

    #[tokio::test]
    async fn what_comes_while_nobody_waits_is_not_lost() {
        let mut interrupts = Interrupts::listen().unwrap();
        send("-INT", SignalKind::interrupt()).await;
        next(&mut interrupts).await;
        send("-TERM", SignalKind::terminate()).await;
        next(&mut interrupts).await;

        // Who waits for something else beside it, and gets that first, has not taken it away.
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            () = interrupts.next() => unreachable!("the other one is ready and is asked first"),
        }
        send("-INT", SignalKind::interrupt()).await;
        next(&mut interrupts).await;
    }
}
