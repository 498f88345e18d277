//! What a statement takes of the program's memory, counted beside SQLite and beside the house: so this is a program of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rookery_core::{AgentId, Durability};
use rookery_storage::{Databases, SqlError, Storage, StorageError};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe; it counts and leaves the rest to the system's")]
// SAFETY: it does as the system's does. Making a block larger is left to the trait, which has both for a moment.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get() + layout.size() as isize;
        HELD.set(held);
        MOST.set(MOST.get().max(held));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

const KIB: isize = 1 << 10;
const MIB: isize = 1 << 20;

/// How many bytes of the program's memory a statement took at most, and what came of it.
fn run(storage: &mut Storage, statement: &str) -> (isize, Result<(), SqlError>) {
    let before = HELD.get();
    MOST.set(before);
    let ran = storage.query(statement, &[]).map(drop);
    (MOST.get() - before, ran)
}

#[test]
fn no_statement_takes_more_memory_than_it_may_not_even_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(folder.path().into(), Durability::Normal).unwrap();
    let agent = AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
    let mut storage = databases.agent(&agent, 1 << 30);
    storage.execute("CREATE TABLE notes (text)", &[]).unwrap();
    let large = "(SELECT replace(printf('%.*c', 2000000, 'x'), 'x', char(1)) AS x)";
    for (statement, least) in [
        // Texts whose every character is escaped, joined in one step: 880 MiB without a bound.
        (format!("SELECT json_array({}) FROM {large}", ["x"; 64].join(", ")), 30 * MIB),
        (format!("SELECT json_array({}) FROM {large}", ["x"; 10].join(", ")), 30 * MIB),
        (format!("SELECT json_array({}) FROM {large}", ["x"; 127].join(", ")), 30 * MIB),
        (format!("SELECT json_object({}) FROM {large}", ["x, x"; 50].join(", ")), 30 * MIB),
        (
            format!(
                "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT x FROM n, {large} ORDER BY i"
            ),
            55 * MIB,
        ),
        (
            format!(
                "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(DISTINCT i || x) FROM n, {large}"
            ),
            55 * MIB,
        ),
    ] {
        let (most, ran) = run(&mut storage, &statement);
        let text = "a statement may use 64 MiB of memory".into();
        assert_eq!(ran, Err(SqlError::Storage(StorageError::OutOfBounds(text))), "{statement:.99}");
        // Beside SQLite there is what the house has of a statement: its text, a replaced value, the error.
        assert!((least..64 * MIB + 3 * MIB).contains(&most), "{statement:.99}: {most}");
    }
    storage.close().unwrap();
}

#[test]
fn a_file_that_is_open_takes_no_more_than_its_agent_needs() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(folder.path().into(), Durability::Normal).unwrap();
    let agent = |name: &str| AgentId { plugin: "chat".parse().unwrap(), name: name.parse().unwrap() };
    // The first one also takes what is there once for all.
    for name in ["alice", "bob"] {
        let before = HELD.get();
        let mut storage = databases.agent(&agent(name), 1 << 30);
        storage.set("k", b"v").unwrap();
        storage.commit().unwrap();
        let open = HELD.get() - before;
        assert!(name == "alice" || open < 64 * KIB, "{open}");
        storage.close().unwrap();
        let closed = HELD.get() - before;
        assert!(name == "alice" || closed < KIB, "{closed}");
    }
}

#[test]
fn nothing_panics_where_a_value_is_read_for_which_there_is_no_memory_left() {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, told) = (panics.clone(), std::panic::take_hook());
    // SQLite's functions are behind a wall that panics do not pass, and that says only that it failed.
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(folder.path().into(), Durability::Normal).unwrap();
    let agent = AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
    let mut storage = databases.agent(&agent, 1 << 30);
    // A text that SQLite has without an end, and copies to write one.
    let text = "CAST(zeroblob(1999992) AS TEXT)";
    for read in [
        text.to_owned(),
        "zeroblob(2000000)".into(),
        format!("instr({text}, 'a')"),
        format!("length(replace('a', 'b', {text}))"),
        format!("length(trim('a', {text}))"),
    ] {
        let (mut fine, mut refused) = (0, 0);
        // What is held before it leaves ever less, down to nothing.
        for held in (552..616).step_by(4) {
            let statement = format!(
                "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {held}), \
                 held AS MATERIALIZED (SELECT zeroblob(100000) FROM n) SELECT {read} FROM (SELECT count(*) FROM held)"
            );
            match run(&mut storage, &statement).1 {
                Ok(()) => fine += 1,
                Err(SqlError::Storage(StorageError::OutOfBounds(_))) => refused += 1,
                ran => panic!("{read}, {held}: {ran:?}"),
            }
        }
        assert!(fine > 1 && refused > 5, "{read}: {fine}, {refused}");
    }
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}
