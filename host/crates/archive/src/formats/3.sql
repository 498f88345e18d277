-- What a run asked of models is known when it has ended. One column, so that the many that ask none are a byte longer.

-- Requests, tokens in, tokens out, millionths of money, one after another as LEB128; null where it asked none.
ALTER TABLE runs ADD COLUMN spent BLOB;
