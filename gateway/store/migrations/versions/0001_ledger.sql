-- The first tables. Written out, not derived from tables.py: a migration never changes afterwards.

CREATE TABLE attempts (
    attempt_id TEXT COLLATE "C" NOT NULL,
    opened BOOLEAN DEFAULT 'false' NOT NULL,
    call_key TEXT DEFAULT '' NOT NULL,
    number INTEGER DEFAULT '0' NOT NULL,
    run_id TEXT DEFAULT '' NOT NULL,
    step INTEGER DEFAULT '0' NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    tier TEXT DEFAULT '' NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    provider TEXT DEFAULT '' NOT NULL,
    model TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    user_id TEXT DEFAULT '' NOT NULL,
    key_id TEXT DEFAULT '' NOT NULL,
    session TEXT DEFAULT '' NOT NULL,
    endpoint TEXT DEFAULT '' NOT NULL,
    application TEXT DEFAULT '' NOT NULL,
    feature TEXT DEFAULT '' NOT NULL,
    mode TEXT DEFAULT 'live' NOT NULL,
    tags JSONB DEFAULT '{}'::jsonb NOT NULL,
    trace_id TEXT DEFAULT '' NOT NULL,
    span_id TEXT DEFAULT '' NOT NULL,
    prompt_version TEXT DEFAULT '' NOT NULL,
    temperature FLOAT,
    max_output_tokens INTEGER,
    process_id TEXT DEFAULT '' NOT NULL,
    counters TEXT[] DEFAULT '{}'::text[] NOT NULL,
    reserved_nano_usd BIGINT DEFAULT '0' NOT NULL,
    queued_at TIMESTAMP WITH TIME ZONE,
    reserved_at TIMESTAMP WITH TIME ZONE,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    day DATE,
    epoch BIGINT DEFAULT '0' NOT NULL,
    seq BIGINT DEFAULT '0' NOT NULL,
    price_id TEXT DEFAULT '' NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    rank SMALLINT DEFAULT '0' NOT NULL,
    status TEXT DEFAULT '' NOT NULL,
    success BOOLEAN,
    error_type TEXT DEFAULT '' NOT NULL,
    error_message TEXT DEFAULT '' NOT NULL,
    finish_reason TEXT DEFAULT '' NOT NULL,
    refusal JSONB,
    input_tokens BIGINT DEFAULT '0' NOT NULL,
    output_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_read_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_write_tokens BIGINT DEFAULT '0' NOT NULL,
    reasoning_tokens BIGINT DEFAULT '0' NOT NULL,
    cost_nano_usd BIGINT DEFAULT '0' NOT NULL,
    estimate_nano_usd BIGINT DEFAULT '0' NOT NULL,
    basis TEXT DEFAULT '' NOT NULL,
    provider_usage JSONB DEFAULT '{}'::jsonb NOT NULL,
    provider_request_id TEXT DEFAULT '' NOT NULL,
    first_token_at TIMESTAMP WITH TIME ZONE,
    done_at TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    closed_epoch BIGINT,
    closed_seq BIGINT,
    doubt_by TEXT DEFAULT '' NOT NULL,
    in_doubt_at TIMESTAMP WITH TIME ZONE,
    cached BOOLEAN DEFAULT 'false' NOT NULL,
    replayed BOOLEAN DEFAULT 'false' NOT NULL,
    PRIMARY KEY (attempt_id),
    CONSTRAINT attempts_state CHECK (state IN ('pending', 'in_doubt', 'released', 'settled', 'refused'))
);

CREATE INDEX attempts_direct ON attempts (settled_at) WHERE closed_epoch = 0;
CREATE INDEX attempts_open ON attempts (state, at) WHERE state IN ('pending', 'in_doubt');
CREATE INDEX attempts_run ON attempts (run_id, step) WHERE run_id <> '';
CREATE INDEX attempts_time ON attempts USING brin (at, day) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT DEFAULT '' NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX audit_time ON audit (at);

CREATE TABLE budget_rules (
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    alert_threshold FLOAT DEFAULT '0.8' NOT NULL,
    auto_switch_enabled BOOLEAN DEFAULT 'false' NOT NULL,
    fallback_model TEXT DEFAULT '' NOT NULL,
    origin TEXT DEFAULT 'policy' NOT NULL,
    version BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (name),
    CONSTRAINT budget_rules_once UNIQUE (scope, period)
);


CREATE TABLE claims (
    epoch BIGINT NOT NULL,
    attempt_id TEXT COLLATE "C" NOT NULL,
    process_id TEXT NOT NULL,
    PRIMARY KEY (epoch, attempt_id)
);


CREATE TABLE conversations (
    id TEXT NOT NULL,
    run_id TEXT DEFAULT '' NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    items INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);


CREATE TABLE dead_events (
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    event JSON NOT NULL,
    error TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (key)
);


CREATE TABLE epochs (
    epoch BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    drained_seq BIGINT DEFAULT '0' NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (epoch)
);


CREATE TABLE events (
    key TEXT NOT NULL,
    rule TEXT NOT NULL,
    scope TEXT DEFAULT '' NOT NULL,
    evidence JSONB DEFAULT '{}'::jsonb NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    epoch BIGINT DEFAULT '0' NOT NULL,
    seq BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (key)
);

CREATE INDEX events_rule ON events (rule, at);
CREATE INDEX events_time ON events (at);

CREATE TABLE http_answers (
    call_key TEXT NOT NULL,
    answer JSON NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (call_key)
);

CREATE INDEX http_answers_expiry ON http_answers (expires_at);

CREATE TABLE ledger (
    posting_id TEXT COLLATE "C" NOT NULL,
    attempt_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    amount_nano_usd BIGINT NOT NULL,
    day DATE NOT NULL,
    counters TEXT[],
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    body JSONB,
    PRIMARY KEY (posting_id),
    CONSTRAINT ledger_amount CHECK (kind = 'adjust' OR (kind = 'settle' AND amount_nano_usd >= 0))
);

CREATE INDEX ledger_adjustments ON ledger (attempt_id) WHERE kind = 'adjust';
CREATE UNIQUE INDEX ledger_settle_once ON ledger (attempt_id) WHERE kind = 'settle';
CREATE INDEX ledger_time ON ledger USING brin (at, day) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE policy_versions (
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    applied_by TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (version)
);


CREATE TABLE processes (
    process_id TEXT NOT NULL,
    last_seen TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    flushed_epoch BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (process_id)
);


CREATE TABLE run_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body JSON NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT run_events_once UNIQUE (run_id, key)
);

CREATE INDEX run_events_kind ON run_events (kind, at);

CREATE TABLE runs (
    id TEXT NOT NULL,
    temporal_run_id TEXT DEFAULT '' NOT NULL,
    agent TEXT NOT NULL,
    status TEXT DEFAULT 'running' NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    waiting_for TEXT DEFAULT '' NOT NULL,
    conversation_id TEXT DEFAULT '' NOT NULL,
    spec JSONB DEFAULT '{}'::jsonb NOT NULL,
    budget_nano_usd BIGINT,
    team TEXT DEFAULT '' NOT NULL,
    user_id TEXT DEFAULT '' NOT NULL,
    session TEXT DEFAULT '' NOT NULL,
    mode TEXT DEFAULT 'live' NOT NULL,
    tags JSONB DEFAULT '{}'::jsonb NOT NULL,
    parent TEXT DEFAULT '' NOT NULL,
    steps INTEGER DEFAULT '0' NOT NULL,
    cost_nano_usd BIGINT DEFAULT '0' NOT NULL,
    answer_item INTEGER,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE INDEX runs_agent ON runs (agent, started_at);
CREATE INDEX runs_children ON runs (parent) WHERE parent <> '';
CREATE INDEX runs_live ON runs (status, started_at) WHERE ended_at IS NULL;
CREATE INDEX runs_recent ON runs (started_at);

CREATE TABLE switch_events (
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    "old" TEXT DEFAULT '' NOT NULL,
    "new" TEXT DEFAULT '' NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    epoch BIGINT DEFAULT '0' NOT NULL,
    seq BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (key)
);

CREATE INDEX switch_events_last ON switch_events (name, at);

CREATE TABLE top_ups (
    top_up_id TEXT NOT NULL,
    counter TEXT NOT NULL,
    amount_nano_usd BIGINT NOT NULL,
    by TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (top_up_id)
);

CREATE INDEX top_ups_counter ON top_ups (counter);

CREATE TABLE items (
    conversation_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    key TEXT NOT NULL,
    message JSON NOT NULL,
    prompt_tokens INTEGER DEFAULT '0' NOT NULL,
    answer JSON,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (conversation_id, number),
    CONSTRAINT items_once UNIQUE (conversation_id, key),
    FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
);

CREATE INDEX items_answers ON items (key) WHERE answer IS NOT NULL;

-- What was booked stays booked: corrections are postings of their own.
CREATE FUNCTION curb_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'P0001';
END
$$;

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger
    FOR EACH ROW EXECUTE FUNCTION curb_append_only();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION curb_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION curb_append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION curb_append_only();

-- Attempts are updated once, soon after they were inserted: leave room for it on the same page.
ALTER TABLE attempts SET (fillfactor = 80, autovacuum_vacuum_insert_scale_factor = 0.05);
