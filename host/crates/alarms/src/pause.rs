//! How long an agent is left alone that could not be rung.

use std::time::Duration;

use crate::retry;

/// The longest pause. A mailbox is soon emptier, a plugin that is not served may never be back: a hundred thousand agents
/// of one are asked less than two hundred times in a second.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The pause after an agent could not be rung so many times in a row (1, 2, 3 …).
pub(crate) fn pause(times: u32) -> Duration {
    Duration::from_millis(retry::wait(times)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_from_a_second_to_ten_minutes() {
        let seconds: Vec<_> = (1..=11).map(|times| pause(times).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]);
        assert_eq!(pause(u32::MAX).as_secs(), 600);
    }
}
