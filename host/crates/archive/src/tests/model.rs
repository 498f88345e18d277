//! Random lives of a database against a reference that is only a list.

use rookery_core::{Code, Standing};

use super::*;

/// A small linear congruential generator: the same seed is the same life, on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// What should be known of a run.
struct Expected {
    tape: Arc<Tape>,
    /// What it has beside the tape's: the outcome that a restart gave it.
    outcome: Option<Outcome>,
    /// What it asked of models: nothing that a restart would know.
    spent: Spent,
    interrupted: bool,
}

struct World {
    random: Random,
    runs: Runs,
    folder: tempfile::TempDir,
    known: Vec<Expected>,
}

#[test]
fn any_life_of_a_database_reads_as_the_reference_says() {
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let runs = open(folder.path());
        let mut world = World { random: Random(seed), runs, folder, known: Vec::new() };
        for _ in 0..400 {
            world.step();
        }
        world.restart(false);
        world.check_all();
    }
}

impl World {
    fn step(&mut self) {
        match self.random.below(100) {
            0..10 => self.accept(),
            10..70 => self.go_on(),
            70..90 => self.read_somewhere(),
            90..97 => self.list(),
            97..99 => self.restart(true),
            _ => self.restart(false),
        }
    }

    fn accept(&mut self) {
        let tape = Tape::new(["chat/a", "chat/b", "notes/a"][self.random.below(3)]);
        if self.random.below(2) == 0 {
            tape.wake(&self.runs);
        }
        self.known.push(Expected { tape, outcome: None, spent: Spent::default(), interrupted: false });
    }

    /// A few events of some runs, which may be their last.
    fn go_on(&mut self) {
        for _ in 0..self.random.below(6) {
            let live: Vec<_> = (0..self.known.len()).filter(|n| self.known[*n].outcome.is_none()).collect();
            if live.is_empty() {
                return;
            }
            let at = live[self.random.below(live.len())];
            let tape = self.known[at].tape.clone();
            for _ in 0..self.random.below(4) {
                let size = [0, 10, 1_000, 70_000][self.random.below(4)];
                tape.text(&"é".repeat(size / 2));
            }
            match self.random.below(10) {
                0 => {
                    let outcomes = every_outcome();
                    let outcome = outcomes[self.random.below(outcomes.len())].clone();
                    let spent = every_spent()[self.random.below(every_spent().len())];
                    tape.end_with(outcome.clone(), super::at(3_000), spent);
                    self.known[at].outcome = Some(outcome);
                    self.known[at].spent = spent;
                }
                1..3 => tape.start(at as u64),
                _ => {}
            }
            tape.wake(&self.runs);
        }
    }

    fn read_somewhere(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let at = self.random.below(self.known.len());
        let settle = self.random.below(2) == 0 && !self.known[at].interrupted;
        if settle {
            self.known[at].tape.settle(&self.runs);
        }
        let mut expected = self.known[at].events();
        let (after, bytes) = (self.random.below(expected.len() + 1) as u64, self.random.below(200_000));
        expected.retain(|event| event.id > after);
        let read = wait(self.runs.read(self.known[at].tape.run, after, bytes)).unwrap();
        // Without settling the end may not be there yet, but what is there is right.
        self.known[at].agree(&read, &expected);
        if settle && !expected.is_empty() {
            assert!(!read.is_empty());
        }
    }

    fn list(&mut self) {
        for expected in self.known.iter().filter(|expected| !expected.interrupted) {
            expected.tape.settle(&self.runs);
        }
        let mut all: Vec<_> = self.known.iter().map(|expected| expected.tape.run).collect();
        all.reverse();
        assert_eq!(list(&self.runs, EVERYTHING), all);
    }

    /// What was handed over is there afterwards: all of it after closing, all that was committed after a crash.
    fn restart(&mut self, crash: bool) {
        for expected in self.known.iter().filter(|expected| !expected.interrupted) {
            if crash {
                expected.tape.settle(&self.runs);
            } else {
                expected.tape.wake(&self.runs);
            }
        }
        if crash {
            let copy = super::crash(self.folder.path());
            self.runs = open(copy.path());
            self.folder = copy;
        } else {
            self.runs.close();
            self.runs = open(self.folder.path());
        }
        let mut recovered = 0;
        for expected in &mut self.known {
            if expected.outcome.is_none() {
                let message = "the host stopped before the run ended; submit it again";
                expected.outcome = Some(Outcome::Failed(Failure::new(Code::Interrupted, message)));
                recovered += 1;
            }
            // Its tape is of the life before.
            expected.interrupted = true;
        }
        assert_eq!(self.runs.recovered(), recovered);
        self.check_all();
    }

    fn check_all(&self) {
        for expected in &self.known {
            let events = expected.events();
            assert_eq!(replay(&self.runs, expected.tape.run), events);
            let state = state(&self.runs, expected.tape.run).unwrap();
            assert_eq!((state.events, state.spent), (events.last().unwrap().id, expected.spent));
            assert_eq!(state.standing, Standing::Ended(expected.outcome.clone().unwrap()));
        }
    }
}

impl Expected {
    fn events(&self) -> Vec<Event> {
        let mut events = self.tape.events();
        if let Some(outcome) = &self.outcome {
            let ended = matches!(events.last(), Some(Event { item: Item::Outcome(_), .. }));
            if !ended {
                let lost = if self.tape.has_started() { 16 * 1024 } else { 1 };
                events.push(Event { id: events.len() as u64 + lost, item: Item::Outcome(outcome.clone()) });
            }
        }
        events
    }

    fn agree(&self, read: &[Event], expected: &[Event]) {
        assert!(read.len() <= expected.len());
        assert_eq!(read, &expected[..read.len()], "run {}", self.tape.run);
    }
}
