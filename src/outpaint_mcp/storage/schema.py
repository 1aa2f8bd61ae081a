"""The tables. A database file of another version is refused, never changed."""

VERSION = 1

# Kept to what SQLite and PostgreSQL share; `position` is the order in which requests came, whatever the clock said.
TABLES = (
    """
    CREATE TABLE requests (
        request_id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        caller TEXT NOT NULL,
        audio TEXT NOT NULL,
        title TEXT NOT NULL,
        extend_before_duration REAL NOT NULL,
        extend_after_duration REAL NOT NULL,
        parent_request_id TEXT REFERENCES requests (request_id),
        take_of TEXT REFERENCES requests (request_id),
        takes INTEGER NOT NULL,
        expected_duration_seconds REAL,
        dedup_key TEXT,
        created_at REAL NOT NULL
    )
    """,
    "CREATE INDEX requests_by_dedup_key ON requests (dedup_key) WHERE dedup_key IS NOT NULL",
    "CREATE INDEX requests_by_family ON requests (take_of) WHERE take_of IS NOT NULL",
    "CREATE INDEX requests_by_caller ON requests (caller, created_at) WHERE caller <> ''",
    """
    CREATE TABLE jobs (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE REFERENCES requests (request_id),
        provider TEXT NOT NULL,
        status TEXT NOT NULL,
        source TEXT NOT NULL,
        inputs TEXT NOT NULL,
        account TEXT NOT NULL,
        limit_usd REAL,
        source_seconds REAL,
        server_id TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        cancel_wish TEXT NOT NULL DEFAULT 'none',
        progress REAL,
        step TEXT NOT NULL DEFAULT '',
        queue_position INTEGER,
        estimated_cost_usd REAL,
        cost_usd REAL,
        basis TEXT,
        error TEXT,
        error_kind TEXT,
        error_hint TEXT,
        error_field TEXT,
        outcome BLOB,
        ended_at REAL
    )
    """,
    "CREATE INDEX jobs_by_status ON jobs (status, position)",
    "CREATE INDEX jobs_by_server ON jobs (server_id) WHERE server_id IS NOT NULL",
    "CREATE INDEX jobs_by_cost ON jobs (status, cost_usd, estimated_cost_usd) WHERE estimated_cost_usd IS NOT NULL",
    """
    CREATE TABLE steps (
        request_id TEXT NOT NULL REFERENCES jobs (request_id),
        number INTEGER NOT NULL,
        side TEXT NOT NULL,
        seconds REAL NOT NULL,
        context_seconds REAL NOT NULL,
        state TEXT NOT NULL,
        sent_at REAL,
        remote_id TEXT,
        object_name TEXT,
        cost_usd REAL,
        PRIMARY KEY (request_id, number)
    )
    """,
    """
    CREATE TABLE deliveries (
        request_id TEXT NOT NULL REFERENCES requests (request_id),
        options TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT,
        size_bytes INTEGER,
        duration_seconds REAL,
        before_seconds REAL,
        after_seconds REAL,
        url TEXT,
        delivered_at REAL,
        PRIMARY KEY (request_id, options)
    )
    """,
)
