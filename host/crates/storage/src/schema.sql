-- Whose file this is. One row.
CREATE TABLE rookery_agent (
    format INTEGER NOT NULL, -- of the tables that begin with rookery_; user_version is the agent's own
    plugin TEXT NOT NULL,
    name   TEXT NOT NULL
) STRICT;

-- What the agent keeps by key. Keys are UTF-8, kept as bytes so that they are ordered by them.
CREATE TABLE rookery_keys (
    key   BLOB PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
