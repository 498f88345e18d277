-- A short run is one row and two entries of indexes, each of which goes to the end of something. Whatever is long is not in
-- the row, so that a list is read without it, and a row that is written again is so without it.

ALTER TABLE runs RENAME TO former;

CREATE TABLE runs (
    no          INTEGER PRIMARY KEY,  -- the writer's choice: never used again while there are events of it
    id          BLOB NOT NULL UNIQUE, -- 16 bytes, of which the first 6 are when; sorts by age
    plugin      TEXT NOT NULL,
    name        TEXT NOT NULL,
    key         TEXT,                 -- the client's name for it
    origin      TEXT NOT NULL,        -- client, agent or schedule
    origin_name TEXT,                 -- address, agent or schedule
    submitted   INTEGER NOT NULL,     -- all times in milliseconds since 1970
    state       TEXT NOT NULL,        -- queued, running, done, failed or cancelled
    started     INTEGER,
    generation  INTEGER,
    ended       INTEGER,              -- null until it ended: then the state is done, failed or cancelled
    events      INTEGER,              -- null until it ended
    code        TEXT,                 -- of a failure
    message     TEXT,                 -- of a failure
    stop        TEXT,                 -- of a cancelled run
    prompt      TEXT NOT NULL,        -- its beginning where it is long
    cut         INTEGER NOT NULL,     -- 1 where it goes on: then `events` has the whole prompt, as number -1
    body        TEXT,                 -- null where there is none, and where it is long: then `events` has it, as number 0
    items       BLOB                  -- all events, where the run had ended when it was written first and they are few
) STRICT;

INSERT INTO events (run, first, last, items)
    SELECT no, -1, -1, CAST(prompt AS BLOB) FROM former WHERE octet_length(prompt) > 1024;
INSERT INTO events (run, first, last, items)
    SELECT no, 0, 0, CAST(body AS BLOB) FROM former WHERE octet_length(body) > 1024;

-- The beginning ends between two characters: as long as what comes next is the middle of one, it is a byte shorter.
INSERT INTO runs
    SELECT no, unhex(replace(id, '-', '')), plugin, name, key, origin, origin_name, submitted, state, started, generation,
        ended, events, code, message, stop,
        CASE
            WHEN octet_length(prompt) <= 1024 THEN prompt
            ELSE CAST(substr(CAST(prompt AS BLOB), 1, CASE
                WHEN hex(substr(CAST(prompt AS BLOB), 1025, 1)) NOT BETWEEN '80' AND 'BF' THEN 1024
                WHEN hex(substr(CAST(prompt AS BLOB), 1024, 1)) NOT BETWEEN '80' AND 'BF' THEN 1023
                WHEN hex(substr(CAST(prompt AS BLOB), 1023, 1)) NOT BETWEEN '80' AND 'BF' THEN 1022
                ELSE 1021
            END) AS TEXT)
        END,
        octet_length(prompt) > 1024,
        iif(octet_length(body) > 1024, NULL, body),
        NULL
    FROM former;

DROP TABLE former;

CREATE INDEX runs_of_agent ON runs (plugin, name, id);
CREATE UNIQUE INDEX runs_by_key ON runs (plugin, name, key) WHERE key IS NOT NULL;
-- Most runs are done, and those that are not should not be looked for among them.
CREATE INDEX runs_live ON runs (plugin, name, id) WHERE ended IS NULL;
CREATE INDEX runs_failed ON runs (state, id) WHERE state IN ('failed', 'cancelled');
