"""The tables. A file of an unreleased version is set aside, one of a newer version refused; neither is changed."""

# 1 to 4 were those of versions before 0.1.0.
VERSION = 5

# Kept to what SQLite and PostgreSQL share, but for AUTOINCREMENT and BLOB (there IDENTITY and BYTEA). `position` is the
# order in which requests came, whatever the clock said.
TABLES = (
    # A row for each take and, where there are several, one without a job for the whole, which is their `take_of`. What
    # was deleted has a row for what it cost, which says nothing else.
    """
    CREATE TABLE requests (
        request_id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        caller TEXT NOT NULL,
        audio TEXT NOT NULL,
        title TEXT NOT NULL,
        extend_before_duration DOUBLE PRECISION NOT NULL,
        extend_after_duration DOUBLE PRECISION NOT NULL,
        parent_request_id TEXT REFERENCES requests (request_id),
        take_of TEXT REFERENCES requests (request_id),
        takes INTEGER NOT NULL,
        expected_duration_seconds DOUBLE PRECISION,
        dedup_key TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        deleted_at DOUBLE PRECISION
    )
    """,
    "CREATE INDEX requests_by_dedup_key ON requests (dedup_key) WHERE dedup_key IS NOT NULL",
    "CREATE INDEX requests_by_family ON requests (take_of) WHERE take_of IS NOT NULL",
    "CREATE INDEX requests_by_caller ON requests (caller, created_at)",
    """
    CREATE TABLE jobs (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE REFERENCES requests (request_id),
        provider TEXT NOT NULL,
        status TEXT NOT NULL,
        source TEXT NOT NULL,
        inputs TEXT NOT NULL,
        account TEXT NOT NULL,
        limit_usd DOUBLE PRECISION,
        day_limit_usd DOUBLE PRECISION,
        source_seconds DOUBLE PRECISION,
        server_id TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        cancel_wish TEXT NOT NULL DEFAULT 'none',
        progress DOUBLE PRECISION,
        step TEXT NOT NULL DEFAULT '',
        queue_position INTEGER,
        is_held INTEGER NOT NULL DEFAULT 0,
        estimated_cost_usd DOUBLE PRECISION,
        cost_usd DOUBLE PRECISION,
        basis TEXT,
        error TEXT,
        error_kind TEXT,
        error_hint TEXT,
        error_field TEXT,
        outcome BLOB,
        audio_sha256 TEXT,
        ended_at DOUBLE PRECISION
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
        seconds DOUBLE PRECISION NOT NULL,
        context_seconds DOUBLE PRECISION NOT NULL,
        state TEXT NOT NULL,
        sent_at DOUBLE PRECISION,
        remote_id TEXT,
        object_name TEXT,
        estimated_cost_usd DOUBLE PRECISION NOT NULL,
        agreed_cost_usd DOUBLE PRECISION,
        cost_usd DOUBLE PRECISION,
        odd_cost TEXT,
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
        duration_seconds DOUBLE PRECISION,
        before_seconds DOUBLE PRECISION,
        after_seconds DOUBLE PRECISION,
        url TEXT,
        delivered_at DOUBLE PRECISION,
        PRIMARY KEY (request_id, options)
    )
    """,
    "CREATE INDEX jobs_by_audio ON jobs (audio_sha256) WHERE audio_sha256 IS NOT NULL",
    "CREATE INDEX deliveries_by_size ON deliveries (size_bytes)",
)
