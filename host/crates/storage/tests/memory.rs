//! SQLite counts its memory for the whole process, so this is a process of its own.

use rookery_core::{AgentId, Durability};
use rookery_storage::{Databases, SqlError, StorageError};

#[test]
fn a_statement_takes_no_more_memory_than_it_may_and_leaves_what_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(folder.path().into(), Durability::Normal).unwrap();
    let agent = AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
    let mut storage = databases.agent(&agent, 1 << 30);
    storage.execute("CREATE TABLE notes (text)", &[]).unwrap();
    storage.set("a", b"1").unwrap();
    let endless = "WITH big (x) AS MATERIALIZED (SELECT printf('%.*c', 1000000, 'x')), \
                   n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)";
    for rest in [
        "SELECT * FROM n, big ORDER BY i",
        "SELECT count(DISTINCT x || i) FROM n, big",
        "SELECT length(json_group_array(x)) FROM n, big",
        "SELECT json_group_object(i, x) FROM n, big",
        "SELECT max(x) OVER (ORDER BY i ROWS BETWEEN 9 PRECEDING AND UNBOUNDED FOLLOWING) FROM n, big",
        ", bomb (b) AS (VALUES (zeroblob(100000)) UNION SELECT randomblob(100000) FROM bomb) SELECT count(*) FROM bomb",
        "INSERT INTO notes (text) SELECT x FROM n, big ORDER BY i RETURNING 1",
    ] {
        let statement = format!("{endless} {rest}").replace("WITH big", "WITH RECURSIVE big");
        match storage.query(&statement, &[]) {
            Err(SqlError::Storage(StorageError::OutOfBounds(text))) => {
                assert_eq!(text, "a statement may use 64 MiB of memory");
            }
            other => panic!("{rest}: {other:?}"),
        }
        assert_eq!(storage.get("a"), Ok(Some(b"1".into())), "{rest}");
        assert!(storage.query("SELECT * FROM notes", &[]).unwrap().next(1).is_empty());
    }
    storage.commit().unwrap();
    // What is written to the file is no memory, be it more than that.
    let many = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
                INSERT INTO notes SELECT zeroblob(1000000) FROM n";
    assert_eq!(storage.execute(many, &[]), Ok(100));
    assert_eq!(storage.execute("UPDATE notes SET text = 1", &[]), Ok(100));
    storage.commit().unwrap();

    // One step may use more than that; what it makes is no larger than a row all the same.
    let step = format!(
        "SELECT json_array({}) FROM (SELECT printf('%.*c', 2000000, '\"') AS x)",
        ["x"; 64].join(", ")
    );
    storage.set("a", b"2").unwrap();
    match storage.query(&step, &[]) {
        Err(SqlError::Storage(StorageError::OutOfBounds(text))) => assert_eq!(text, "a row is at most 2 MiB"),
        other => panic!("{other:?}"),
    }
    assert_eq!(storage.get("a"), Ok(Some(b"2".into())));
    storage.commit().unwrap();
    storage.close().unwrap();
}
