//! The alarms of one agent, in its own file and in the same transactions as everything else that it writes.
//!
//! What becomes of an alarm is said by [`rookery_alarms::Progress`]; this file only keeps it.
//! Bounded by: 10,000 alarms, names of 256 bytes, payloads of 64 KiB.

use std::time::Duration;

use rookery_alarms::{
    Begun, Cron, Missed, Moment, Period, Progress, Ringing, Rung, Settled, Timing, Verdict,
};
use rusqlite::{OptionalExtension, Row};

use crate::database::Database;
use crate::error::{SqlError, StorageError};
use crate::storage::Storage;
use crate::transaction::Write;

/// An alarm to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its name within the agent.
    pub name: String,
    /// When it rings.
    pub timing: Timing,
    /// Given back when it rings.
    pub payload: String,
    /// What becomes of a time that passed while the host was down.
    pub missed: Missed,
}

/// An alarm that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// As it was set.
    pub alarm: Alarm,
    /// Which setting of the name.
    pub version: u64,
    /// How far it is.
    pub progress: Progress,
}

/// Why an alarm was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmError {
    /// The timing is wrong, or a bound exceeded; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// The agent has as many as it can have.
    #[error("the agent has {ALARMS} alarms; cancel some")]
    TooMany,
    /// As for keys.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

const ALARMS: i64 = 10_000;
const NAME: usize = 256;
const PAYLOAD: usize = 64 << 10;
const LISTED: u32 = 1_000;

const COLUMNS: &str =
    "name, version, kind, millis, expression, time_zone, payload, skip, due, attempts, rings, failure";

impl Storage {
    /// Sets an alarm, whatever its name was set to before. Says when it is due.
    ///
    /// # Errors
    ///
    /// Any of [`AlarmError`]; nothing has changed then.
    pub fn set_alarm(&mut self, alarm: Alarm, now: u64) -> Result<u64, AlarmError> {
        check(&alarm)?;
        let progress =
            Progress::set(&alarm.timing, now).map_err(|error| AlarmError::Invalid(error.to_string()))?;
        let due = progress.due;
        let set = self.write_keys(true, |database| {
            let others = "SELECT count(*) FROM rookery_alarms WHERE name <> ? /*rookery*/";
            let others: i64 = database
                .connection
                .prepare_cached(others)?
                .query_row([alarm.name.as_bytes()], |row| row.get(0))?;
            if others >= ALARMS {
                return Ok(None);
            }
            let next = "UPDATE rookery_agent SET alarms = alarms + 1 RETURNING alarms /*rookery*/";
            let version: i64 = database.connection.prepare_cached(next)?.query_row((), |row| row.get(0))?;
            let pending = Pending { alarm, version: version.unsigned_abs(), progress };
            put(database, &pending)?;
            Ok(Some(pending))
        })?;
        let pending = set.ok_or(AlarmError::TooMany)?;
        self.note_alarm(pending.progress.rings);
        self.remember_alarm(pending);
        Ok(due)
    }

    /// Cancels an alarm. Says whether it was there.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`]; nothing has changed then.
    pub fn cancel_alarm(&mut self, name: &str) -> Result<bool, StorageError> {
        if !self.has_file() {
            return Ok(false);
        }
        let cancelled = self.write_keys(false, |database| remove(database, name))?;
        self.remember(name.len(), Duration::ZERO, || Write::NoAlarm { name: name.into() });
        Ok(cancelled)
    }

    /// An alarm by its name.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`].
    pub fn alarm(&mut self, name: &str) -> Result<Option<Pending>, StorageError> {
        let database = self.reading()?;
        find(database, name).map_err(|error| database.failure(&error))
    }

    /// Alarms in the order of their names, after this one; at most so many, 1–1,000.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfBounds`] and [`StorageError::Unavailable`].
    pub fn alarms(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<Pending>, StorageError> {
        if !(1..=LISTED).contains(&limit) {
            return crate::error::bound("ask for 1 to 1,000 alarms at a time");
        }
        let database = self.reading()?;
        let statement =
            format!("SELECT {COLUMNS} FROM rookery_alarms WHERE name > ? ORDER BY name LIMIT ? /*rookery*/");
        let list = || {
            let mut statement = database.connection.prepare_cached(&statement)?;
            let rows = statement.query_map((after.unwrap_or("").as_bytes(), i64::from(limit)), read)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        list().map_err(|error: rusqlite::Error| database.failure(&error))
    }

    /// Whether something was written that is not committed.
    pub fn is_writing(&self) -> bool {
        self.in_transaction()
    }

    /// Begins the ring that has waited longest, of those that are not ringing; see [`rookery_alarms::Kept::begin`]. To be
    /// called between two transactions; what it writes is committed.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`].
    pub fn begin_ring(&mut self, moment: &Moment) -> Result<Begun, StorageError> {
        let mut ringing = None;
        while let Some(pending) = self.first(&moment.ringing)? {
            let Pending { alarm, version, progress } = &pending;
            match progress.verdict(&alarm.timing, alarm.missed, moment.now, moment.up_since) {
                Verdict::Later(_) | Verdict::Never => break,
                Verdict::Passes(None) => self.write_progress(&pending, None)?,
                Verdict::Passes(Some(next)) => self.write_progress(&pending, Some(next))?,
                Verdict::Rings(next) => {
                    let (due, attempt) = (next.due, next.attempts);
                    self.write_progress(&pending, Some(next))?;
                    let (name, payload) = (alarm.name.clone(), alarm.payload.clone());
                    ringing =
                        Some(Ringing { name, version: *version, payload, due, attempt, began: moment.now });
                    break;
                }
            }
        }
        let others: Vec<_> = moment
            .ringing
            .iter()
            .cloned()
            .chain(ringing.iter().map(|ringing| ringing.name.clone()))
            .collect();
        Ok(Begun { next: self.first_ring(&others)?, ringing })
    }

    /// Writes how a ring ended; see [`rookery_alarms::Kept::settle`]. To be called between two transactions; what it writes
    /// is committed.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`].
    pub fn settle_ring(
        &mut self,
        ringing: &Ringing,
        rung: &Rung,
        moment: &Moment,
    ) -> Result<Option<u64>, StorageError> {
        let found = if self.has_file() { self.alarm(&ringing.name)? } else { None };
        if let Some(pending) = found.filter(|pending| pending.version == ringing.version) {
            match pending.progress.settle(&pending.alarm.timing, ringing, rung, moment.now) {
                Settled::Unchanged => {}
                Settled::Goes(next) => self.write_progress(&pending, Some(next))?,
                Settled::Over => self.write_progress(&pending, None)?,
            }
        }
        let first = self.first_ring(&[])?;
        self.index.put(self.agent(), first)?;
        self.first_ring(&moment.ringing)
    }

    /// When the first alarm rings whose name is not among these.
    pub(crate) fn first_ring(&mut self, ringing: &[String]) -> Result<Option<u64>, StorageError> {
        Ok(self.first(ringing)?.and_then(|pending| pending.progress.rings))
    }

    fn first(&mut self, ringing: &[String]) -> Result<Option<Pending>, StorageError> {
        if !self.has_file() {
            return Ok(None);
        }
        let database = self.reading()?;
        let statement = format!(
            "SELECT {COLUMNS} FROM rookery_alarms WHERE rings IS NOT NULL ORDER BY rings /*rookery*/"
        );
        let look = || {
            let mut statement = database.connection.prepare_cached(&statement)?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let pending = read(row)?;
                if !ringing.contains(&pending.alarm.name) {
                    return Ok(Some(pending));
                }
            }
            Ok(None)
        };
        look().map_err(|error: rusqlite::Error| database.failure(&error))
    }

    /// The host's own: it counts in no limit, so that an alarm is settled also where the agent has used up its storage.
    fn write_progress(&mut self, pending: &Pending, progress: Option<Progress>) -> Result<(), StorageError> {
        self.write_keys(false, |database| {
            database.beyond_limit(|| match progress {
                Some(progress) => put(database, &Pending { progress, ..pending.clone() }),
                None => remove(database, &pending.alarm.name).map(drop),
            })
        })?;
        self.commit().map_err(|error| match error {
            SqlError::Storage(error) => error,
            other => StorageError::Unavailable(other.to_string()),
        })
    }

    fn remember_alarm(&mut self, pending: Pending) {
        self.remember(size(&pending), Duration::ZERO, || Write::Alarm(Box::new(pending)));
    }
}

fn check(alarm: &Alarm) -> Result<(), AlarmError> {
    let invalid = |text: String| Err(AlarmError::Invalid(text));
    match (alarm.name.len(), alarm.payload.len()) {
        (0 | NAME.., _) if alarm.name.len() != NAME => {
            invalid(format!("an alarm's name is 1 to {NAME} bytes, and this one {}", alarm.name.len()))
        }
        (_, bytes) if bytes > PAYLOAD => {
            invalid(format!("an alarm's payload is at most 64 KiB, and this one {bytes} bytes"))
        }
        _ => Ok(()),
    }
}

/// What remembering an alarm takes, in bytes.
pub(crate) fn size(pending: &Pending) -> usize {
    size_of::<Pending>() + pending.alarm.name.len() + pending.alarm.payload.len()
}

/// Writes an alarm once more whose transaction was undone, and its version with it.
pub(crate) fn put_again(database: &Database, pending: &Pending) -> rusqlite::Result<()> {
    let counted = "UPDATE rookery_agent SET alarms = max(alarms, ?) /*rookery*/";
    database.connection.prepare_cached(counted)?.execute([pending.version.cast_signed()])?;
    put(database, pending)
}

fn put(database: &Database, pending: &Pending) -> rusqlite::Result<()> {
    let Pending { alarm, version, progress } = pending;
    let (kind, millis, cron) = match &alarm.timing {
        Timing::At(at) => ("at", Some(*at), None),
        Timing::After(after) => ("after", Some(*after), None),
        Timing::Every(period) => ("every", Some(period.millis()), None),
        Timing::Cron(cron) => ("cron", None, Some(cron)),
    };
    // Selected rather than VALUES for the same reason as in `keys`.
    let statement = format!(
        "INSERT INTO rookery_alarms ({COLUMNS}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE true \
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, kind = excluded.kind, \
         millis = excluded.millis, expression = excluded.expression, time_zone = excluded.time_zone, \
         payload = excluded.payload, skip = excluded.skip, due = excluded.due, attempts = excluded.attempts, \
         rings = excluded.rings, failure = excluded.failure /*rookery*/"
    );
    let parameters = rusqlite::params![
        alarm.name.as_bytes(),
        version.cast_signed(),
        kind,
        millis.map(u64::cast_signed),
        cron.map(Cron::expression),
        cron.map(Cron::time_zone),
        alarm.payload,
        alarm.missed == Missed::Skip,
        progress.due.cast_signed(),
        progress.attempts,
        progress.rings.map(u64::cast_signed),
        progress.failure,
    ];
    database.connection.prepare_cached(&statement)?.execute(parameters).map(drop)
}

/// Says whether it was there.
pub(crate) fn remove(database: &Database, name: &str) -> rusqlite::Result<bool> {
    let statement = "DELETE FROM rookery_alarms WHERE name = ? /*rookery*/";
    database.connection.prepare_cached(statement)?.execute([name.as_bytes()]).map(|removed| removed > 0)
}

fn find(database: &Database, name: &str) -> rusqlite::Result<Option<Pending>> {
    let statement = format!("SELECT {COLUMNS} FROM rookery_alarms WHERE name = ? /*rookery*/");
    database.connection.prepare_cached(&statement)?.query_row([name.as_bytes()], read).optional()
}

/// A row. What no host ever wrote, in a file from elsewhere, is damage.
fn read(row: &Row<'_>) -> rusqlite::Result<Pending> {
    let damaged = |at| rusqlite::Error::InvalidColumnType(at, "alarm".into(), rusqlite::types::Type::Null);
    let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let name = String::from_utf8(row.get(0)?).map_err(|_| damaged(0))?;
    let kind: String = row.get(2)?;
    let timing = match kind.as_str() {
        "at" => Timing::At(number(3)?),
        "after" => Timing::After(number(3)?),
        "every" => Timing::Every(Period::new(number(3)?).map_err(|_| damaged(3))?),
        "cron" => {
            let (expression, zone): (String, String) = (row.get(4)?, row.get(5)?);
            Timing::Cron(Cron::new(&expression, &zone).map_err(|_| damaged(4))?)
        }
        _ => return Err(damaged(2)),
    };
    let missed = if row.get(7)? { Missed::Skip } else { Missed::RingOnce };
    let progress = Progress {
        due: number(8)?,
        attempts: row.get(9)?,
        rings: row.get::<_, Option<i64>>(10)?.map(i64::cast_unsigned),
        failure: row.get(11)?,
    };
    Ok(Pending { alarm: Alarm { name, timing, payload: row.get(6)?, missed }, version: number(1)?, progress })
}
