-- What an agent's calls of a model came to on one day (in UTC, counted from 1970-01-01), as far as it is written.
-- No number is above 2^53 - 1: a sum of two fits into an integer, and a floating sum of many is exact below that.
CREATE TABLE usage (
    day INTEGER NOT NULL,
    plugin TEXT NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    -- Millionths of the currency that the prices are in.
    micros INTEGER NOT NULL,
    PRIMARY KEY (day, plugin, agent, model)
) STRICT, WITHOUT ROWID;
