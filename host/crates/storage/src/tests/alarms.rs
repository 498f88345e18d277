//! Alarms in an agent's file, and the index of them.

use std::sync::{Arc, Mutex};

use rookery_alarms::{ATTEMPTS, Cron, Missed, Moment, Period, Rung, Timing};

use super::*;
use crate::{Alarm, AlarmError, Pending};

const NOW: u64 = 1_800_000_000_000;

fn alarm(name: &str, timing: Timing) -> Alarm {
    Alarm { name: name.into(), timing, payload: format!("{name}'s"), missed: Missed::RingOnce }
}

fn at(name: &str, seconds: u64) -> Alarm {
    alarm(name, Timing::At(NOW + seconds * 1_000))
}

fn every(seconds: u64) -> Timing {
    Timing::Every(Period::new(seconds * 1_000).unwrap())
}

/// So many seconds after the tests' now, on a host that has been up since then.
fn moment(seconds: u64, ringing: &[&str]) -> Moment {
    let ringing = ringing.iter().map(ToString::to_string).collect();
    Moment { now: NOW + seconds * 1_000, up_since: NOW, ringing }
}

fn names(storage: &mut Storage) -> Vec<String> {
    storage.alarms(None, 1_000).unwrap().into_iter().map(|pending| pending.alarm.name).collect()
}

impl House {
    /// What is told of alarms as they are set.
    fn told(&self) -> Arc<Mutex<Vec<(String, u64)>>> {
        let told = Arc::<Mutex<Vec<_>>>::default();
        self.databases.on_alarm({
            let told = told.clone();
            move |agent, at| told.lock().unwrap().push((agent.name.to_string(), (at - NOW) / 1_000))
        });
        told
    }

    fn indexed(&self) -> Vec<(String, u64)> {
        let page = self.databases.alarms(None, 100).unwrap();
        page.into_iter().map(|(agent, at)| (agent.name.to_string(), (at - NOW) / 1_000)).collect()
    }
}

#[test]
fn an_alarm_is_what_it_was_set_to_and_outlives_the_file_being_closed() {
    let house = House::new();
    let mut storage = house.agent("alice");
    assert_eq!(storage.alarm("tea").unwrap(), None);
    let cron = Timing::Cron(Cron::new("30 7 * * mon-fri", "Europe/Zurich").unwrap());
    let timings = [Timing::At(NOW + 1_000), Timing::After(5_000), every(60), cron];
    for (at, timing) in timings.iter().enumerate() {
        let alarm = Alarm { missed: Missed::Skip, ..alarm(&format!("a{at}"), timing.clone()) };
        assert_eq!(storage.set_alarm(alarm, NOW).unwrap(), timing.first(NOW).unwrap());
    }
    storage.commit().unwrap();
    storage.close().unwrap();
    let mut storage = house.agent("alice");
    for (at, timing) in timings.into_iter().enumerate() {
        let pending = storage.alarm(&format!("a{at}")).unwrap().unwrap();
        let Pending { alarm, progress, .. } = pending;
        assert_eq!((alarm.timing.clone(), alarm.missed), (timing.clone(), Missed::Skip));
        assert_eq!(alarm.payload, format!("a{at}'s"));
        assert_eq!((progress.due, progress.attempts), (timing.first(NOW).unwrap(), 0));
    }
    assert_eq!(storage.alarms(Some("a1"), 1).unwrap()[0].alarm.name, "a2");
    storage.close().unwrap();
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
}

#[test]
fn alarms_belong_to_the_same_transaction_as_everything_else() {
    let house = House::new();
    let told = house.told();
    let mut storage = house.agent("alice");
    storage.set("k", b"v").unwrap();
    storage.set_alarm(at("tea", 60), NOW).unwrap();
    storage.rollback();
    storage.commit().unwrap();
    assert_eq!((names(&mut storage), told.lock().unwrap().len()), (vec![], 0));
    storage.set_alarm(at("tea", 60), NOW).unwrap();
    storage.set_alarm(at("bus", 30), NOW).unwrap();
    assert!(house.indexed().is_empty(), "nothing is said before it is kept");
    storage.commit().unwrap();
    assert_eq!(*told.lock().unwrap(), [("alice".to_owned(), 30)], "the first of them");
    assert_eq!(house.indexed(), [("alice".to_owned(), 30)]);
    assert!(storage.cancel_alarm("bus").unwrap());
    assert!(!storage.cancel_alarm("bus").unwrap());
    storage.rollback();
    assert_eq!(names(&mut storage), ["bus", "tea"]);
}

#[test]
fn the_ring_that_has_waited_longest_begins_and_its_attempt_is_kept_before_its_run() {
    let house = House::new();
    let mut storage = house.agent("alice");
    for alarm in [at("late", 20), at("early", 10), at("later", 100)] {
        storage.set_alarm(alarm, NOW).unwrap();
    }
    storage.commit().unwrap();
    assert_eq!(storage.begin_ring(&moment(5, &[])).unwrap().next, Some(NOW + 10_000));
    let begun = storage.begin_ring(&moment(30, &[])).unwrap();
    let ringing = begun.ringing.unwrap();
    assert_eq!((&*ringing.name, &*ringing.payload, ringing.attempt), ("early", "early's", 1));
    assert_eq!((ringing.due, begun.next), (NOW + 10_000, Some(NOW + 20_000)));
    drop(storage);
    // The host died: it rings again, with the next attempt.
    let mut storage = house.agent("alice");
    let again = storage.begin_ring(&moment(31, &[])).unwrap().ringing.unwrap();
    assert_eq!((&*again.name, again.attempt), ("early", 2));
    let other = storage.begin_ring(&moment(31, &["early"])).unwrap();
    assert_eq!((&*other.ringing.unwrap().name, other.next), ("late", Some(NOW + 100_000)));
    assert_eq!(house.indexed(), [("alice".to_owned(), 10)], "not later than what has not ended");
    let next = storage.settle_ring(&again, &Rung::Done, &moment(32, &["late"])).unwrap();
    assert_eq!((next, names(&mut storage)), (Some(NOW + 100_000), vec!["late".into(), "later".into()]));
    assert_eq!(house.indexed(), [("alice".to_owned(), 20)]);
}

#[test]
fn a_ring_that_failed_is_tried_again_and_stays_as_failed_at_last() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set_alarm(at("tea", 0), NOW).unwrap();
    storage.commit().unwrap();
    let mut seconds = 0;
    for attempt in 1..=ATTEMPTS {
        let ringing = storage.begin_ring(&moment(seconds, &[])).unwrap().ringing.expect("it rings");
        assert_eq!(ringing.attempt, attempt);
        let failed = Rung::Failed("no water".into());
        let next = storage.settle_ring(&ringing, &failed, &moment(seconds, &[])).unwrap();
        seconds = next.map_or(seconds, |next| (next - NOW) / 1_000);
    }
    let failed = storage.alarm("tea").unwrap().unwrap().progress;
    assert_eq!((failed.rings, failed.failure.as_deref()), (None, Some("no water")));
    assert!(house.indexed().is_empty(), "nobody looks for it any more");
    storage.set_alarm(at("tea", 500), NOW).unwrap();
    storage.commit().unwrap();
    assert_eq!(house.indexed(), [("alice".to_owned(), 500)]);
}

#[test]
fn what_was_cancelled_or_set_again_while_it_rang_stays_as_that_left_it() {
    let house = House::new();
    let mut storage = house.agent("alice");
    for alarm in [at("gone", 0), at("again", 0)] {
        storage.set_alarm(alarm, NOW).unwrap();
    }
    storage.commit().unwrap();
    let rings = [&[][..], &["again"]]
        .map(|ringing| storage.begin_ring(&moment(1, ringing)).unwrap().ringing.expect("both ring"));
    storage.cancel_alarm("gone").unwrap();
    storage.set_alarm(at("again", 0), NOW).unwrap();
    storage.commit().unwrap();
    for ringing in &rings {
        storage.settle_ring(ringing, &Rung::Done, &moment(2, &[])).unwrap();
    }
    assert_eq!(names(&mut storage), ["again"]);
    let ringing = storage.begin_ring(&moment(3, &[])).unwrap().ringing.unwrap();
    assert_eq!(
        (&*ringing.name, ringing.attempt),
        ("again", 1),
        "set for now inside its own ring, it rings after it"
    );
}

#[test]
fn what_repeats_rings_once_for_all_times_that_were_missed_or_not_at_all() {
    let house = House::new();
    // The host was down until the 55th second.
    let moment = Moment { up_since: NOW + 55_000, ..moment(60, &[]) };
    for (missed, rings) in [(Missed::RingOnce, Some(NOW + 10_000)), (Missed::Skip, None)] {
        let mut storage = house.agent(&format!("{missed:?}"));
        storage.set_alarm(Alarm { missed, ..alarm("tick", every(10)) }, NOW).unwrap();
        storage.commit().unwrap();
        let begun = storage.begin_ring(&moment).unwrap();
        assert_eq!(begun.ringing.as_ref().map(|ringing| ringing.due), rings, "{missed:?}");
        let next = match begun.ringing {
            Some(ringing) => storage.settle_ring(&ringing, &Rung::Done, &moment).unwrap(),
            None => begun.next,
        };
        assert_eq!(next, Some(NOW + 70_000));
    }
}

#[test]
fn alarms_have_bounds() {
    let house = House::new();
    let mut storage = house.agent("alice");
    let invalid = |result: Result<u64, AlarmError>| match result {
        Err(AlarmError::Invalid(text)) => text,
        other => panic!("{other:?}"),
    };
    for name in ["", &"n".repeat(257)] {
        assert!(invalid(storage.set_alarm(at(name, 1), NOW)).contains("1 to 256 bytes"));
    }
    storage.set_alarm(at(&"n".repeat(256), 1), NOW).unwrap();
    let large = Alarm { payload: "x".repeat((64 << 10) + 1), ..at("large", 1) };
    assert!(invalid(storage.set_alarm(large, NOW)).contains("64 KiB"));
    assert!(storage.alarms(None, 0).is_err() && storage.alarms(None, 1_001).is_err());
    for number in 1..10_000 {
        storage.set_alarm(at(&number.to_string(), 1), NOW).unwrap();
    }
    assert_eq!(storage.set_alarm(at("one more", 1), NOW), Err(AlarmError::TooMany));
    storage.set_alarm(at("1", 2), NOW).expect("one that is there may be set again");
}

#[test]
fn an_alarm_is_settled_also_where_the_agent_has_used_up_its_storage() {
    let house = House::new();
    let mut storage = house.databases.agent(&agent("alice"), MIB as u64);
    storage.set_alarm(at("tea", 0), NOW).unwrap();
    storage.commit().unwrap();
    let ringing = storage.begin_ring(&moment(1, &[])).unwrap().ringing.unwrap();
    let mut size = 500_000;
    for key in 0.. {
        match storage.set(&format!("k{key}"), &vec![0; size]) {
            Ok(()) => {}
            Err(_) if size > 1 => size /= 2,
            Err(_) => break,
        }
    }
    storage.commit().unwrap();
    let failed = Rung::Failed("x".repeat(8_000));
    storage.settle_ring(&ringing, &failed, &moment(2, &[])).unwrap();
    assert_eq!(storage.alarm("tea").unwrap().unwrap().progress.failure.unwrap().len(), 8_000);
}

#[test]
fn a_copy_has_its_own_alarms_in_the_index_and_what_is_removed_has_none() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set_alarm(at("tea", 60), NOW).unwrap();
    storage.commit().unwrap();
    let told = house.told();
    house.databases.fork(&agent("alice"), &agent("bob")).unwrap();
    assert_eq!(*told.lock().unwrap(), [("bob".to_owned(), 60)]);
    drop(storage);
    house.databases.remove(&agent("alice")).unwrap();
    assert_eq!(house.indexed(), [("bob".to_owned(), 60)]);
}

#[test]
fn the_index_is_paged_and_no_agent_is_left_out() {
    let house = House::new();
    for name in ["a", "b", "c", "other/a"] {
        let mut storage = house.agent(name);
        storage.set_alarm(at("tea", 60), NOW).unwrap();
        storage.commit().unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = house.databases.alarms(after.as_ref(), 3).unwrap();
        seen.extend(page.iter().map(|(agent, _)| agent.to_string()));
        if page.len() < 3 {
            break;
        }
        after = page.last().map(|(agent, _)| agent.clone());
    }
    assert_eq!(seen, ["chat/a", "chat/b", "chat/c", "other/a"]);
}
