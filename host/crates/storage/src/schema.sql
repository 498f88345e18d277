-- Whose file this is. One row.
CREATE TABLE rookery_agent (
    format INTEGER NOT NULL, -- of the tables that begin with rookery_; user_version is the agent's own
    plugin TEXT NOT NULL,
    name   TEXT NOT NULL,
    alarms INTEGER NOT NULL DEFAULT 0 -- how often one was set, for their versions
) STRICT;

-- What the agent keeps by key. Keys are UTF-8, kept as bytes so that they are ordered by them.
CREATE TABLE rookery_keys (
    key   BLOB PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The alarms that the agent has set. Times are milliseconds since 1970.
CREATE TABLE rookery_alarms (
    name       BLOB PRIMARY KEY NOT NULL, -- UTF-8
    version    INTEGER NOT NULL, -- which setting of a name; no two are the same
    kind       TEXT NOT NULL, -- at, after, every or cron
    millis     INTEGER, -- of the first three
    expression TEXT, -- of cron
    time_zone  TEXT, -- of cron
    payload    TEXT NOT NULL,
    skip       INTEGER NOT NULL, -- whether a time that was missed is left out
    due        INTEGER NOT NULL, -- the time that it rings for
    attempts   INTEGER NOT NULL, -- how often that has been tried
    rings      INTEGER, -- when it rings next; none where it has failed for good
    failure    TEXT -- why its last run failed
) STRICT, WITHOUT ROWID;

CREATE INDEX rookery_alarms_by_time ON rookery_alarms (rings) WHERE rings IS NOT NULL;
