-- Which runs an agent has is entered for many runs at once. An index would have every commit write a page for each agent
-- that has a run in it, and with a thousand agents these are most of what it writes.
DROP INDEX runs_of_agent;

CREATE TABLE of_agent (
    of_plugin TEXT NOT NULL,
    of_name   TEXT NOT NULL,
    run       BLOB NOT NULL,    -- the run's id
    at        INTEGER NOT NULL, -- the run's number
    PRIMARY KEY (of_plugin, of_name, run)
) STRICT, WITHOUT ROWID;

INSERT INTO of_agent SELECT plugin, name, id, no FROM runs ORDER BY plugin, name, id;

CREATE TRIGGER gone AFTER DELETE ON runs BEGIN
    DELETE FROM of_agent WHERE of_plugin = old.plugin AND of_name = old.name AND run = old.id;
END;

-- One row: the runs up to this number are entered, and those after it are not.
CREATE TABLE entered (
    up_to INTEGER NOT NULL
) STRICT;

INSERT INTO entered SELECT coalesce(max(no), 0) FROM runs;

-- Events in a table of rows: one without them has room for a quarter of a page in a row, and puts the rest on a page of its own.
ALTER TABLE events RENAME TO former;

CREATE TABLE events (
    block INTEGER PRIMARY KEY,
    run   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    items BLOB NOT NULL
) STRICT;

INSERT INTO events (run, first, last, items) SELECT run, first, last, items FROM former ORDER BY run, first;

DROP TABLE former;

CREATE UNIQUE INDEX events_of_run ON events (run, first);
