-- Signs of life of those who work with the database (storage.session_lock). Not logged: a sign waits for
-- no disk and no standby, and after a crash or a fail-over everyone begins anew.
CREATE UNLOGGED TABLE beats (
    run bigint PRIMARY KEY,   -- one life of a process; below 0: of a lock
    n   bigint NOT NULL       -- signs so far; of a lock: the run that took it last
);
