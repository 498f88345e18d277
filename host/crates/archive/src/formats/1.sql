CREATE TABLE runs (
    no          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: events may outlive their run for a moment
    id          TEXT NOT NULL UNIQUE,              -- sorts by age
    plugin      TEXT NOT NULL,
    name        TEXT NOT NULL,
    key         TEXT,                              -- the client's name for it
    origin      TEXT NOT NULL,                     -- client, agent or schedule
    origin_name TEXT,                              -- address, agent or schedule
    submitted   INTEGER NOT NULL,                  -- all times in milliseconds since 1970
    state       TEXT NOT NULL,                     -- queued, running, done, failed or cancelled
    started     INTEGER,
    generation  INTEGER,
    ended       INTEGER,
    events      INTEGER,                           -- null until it ended
    code        TEXT,                              -- of a failure
    message     TEXT,                              -- of a failure
    stop        TEXT,                              -- of a cancelled run
    prompt      TEXT NOT NULL,                     -- these two last: what is before them is read without them
    body        TEXT
) STRICT;

CREATE INDEX runs_of_agent ON runs (plugin, name, id);
CREATE INDEX runs_in_state ON runs (state, id);
CREATE UNIQUE INDEX runs_by_key ON runs (plugin, name, key) WHERE key IS NOT NULL;
CREATE INDEX runs_to_keep ON runs (plugin, name, id) WHERE ended IS NOT NULL;
CREATE INDEX runs_by_end ON runs (ended) WHERE ended IS NOT NULL;

-- The events of a run, many in a row: the numbers first to last, encoded one after another.
CREATE TABLE events (
    run   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    items BLOB NOT NULL,
    PRIMARY KEY (run, first)
) STRICT, WITHOUT ROWID;

-- Runs that are no more, but whose events are still to be removed.
CREATE TABLE removed (
    run INTEGER PRIMARY KEY
) STRICT;
