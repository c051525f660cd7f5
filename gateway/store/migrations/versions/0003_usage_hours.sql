-- Usage by the hour: kept from attempts and ledger by whoever asks for it first (queries/usage.sql).

-- No unique key over the names: they are as long as callers make them, and an index page is not.
CREATE TABLE usage_hours (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    day DATE NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    provider TEXT DEFAULT '' NOT NULL,
    model TEXT DEFAULT '' NOT NULL,
    tier TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    feature TEXT DEFAULT '' NOT NULL,
    application TEXT DEFAULT '' NOT NULL,
    endpoint TEXT DEFAULT '' NOT NULL,
    key_id TEXT DEFAULT '' NOT NULL,
    mode TEXT DEFAULT '' NOT NULL,
    cost_nano_usd BIGINT DEFAULT '0' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    errors INTEGER DEFAULT '0' NOT NULL,
    refusals INTEGER DEFAULT '0' NOT NULL,
    cached INTEGER DEFAULT '0' NOT NULL,
    input_tokens BIGINT DEFAULT '0' NOT NULL,
    output_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_read_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_write_tokens BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX usage_hours_day ON usage_hours (day);
CREATE INDEX usage_hours_hour ON usage_hours (hour);

CREATE TABLE usage_users (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    day DATE NOT NULL,
    user_id TEXT DEFAULT '' NOT NULL,
    cost_nano_usd BIGINT DEFAULT '0' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX usage_users_day ON usage_users (day);
CREATE INDEX usage_users_hour ON usage_users (hour);

CREATE TABLE latency_hours (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    day DATE NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    bucket SMALLINT NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX latency_hours_day ON latency_hours (day);
CREATE INDEX latency_hours_hour ON latency_hours (hour);

-- What must be computed again: an hour, or the hour of an attempt that need not be here yet.
-- Only ever appended by those who book, so that they never wait for one another.
CREATE TABLE stale_hours (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    hour TIMESTAMP WITH TIME ZONE,
    attempt_id TEXT COLLATE "C",
    PRIMARY KEY (id)
);

-- One row: hours before it have lost attempts to retention, and stay as they are.
CREATE TABLE usage_frozen (
    one BOOLEAN DEFAULT 'true' NOT NULL,
    before TIMESTAMP WITH TIME ZONE DEFAULT '-infinity' NOT NULL,
    PRIMARY KEY (one),
    CONSTRAINT usage_frozen_once CHECK (one)
);

INSERT INTO usage_frozen DEFAULT VALUES;

-- An attempt whose ending was booked before its opening moves to the hour of its opening.
CREATE FUNCTION curb_attempt_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stale_hours (hour) VALUES (date_trunc('hour', OLD.at, 'UTC')), (date_trunc('hour', NEW.at, 'UTC'));
    RETURN NULL;
END
$$;

CREATE TRIGGER attempts_moved AFTER UPDATE OF at ON attempts
    FOR EACH ROW WHEN (OLD.at IS DISTINCT FROM NEW.at) EXECUTE FUNCTION curb_attempt_moved();

INSERT INTO stale_hours (hour) SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM attempts;

-- What the anomaly sweep found and goes on. key: a digest of rule, scope and window.
CREATE TABLE episodes (
    key TEXT NOT NULL,
    rule TEXT NOT NULL,
    scope TEXT NOT NULL,
    "window" TEXT DEFAULT '' NOT NULL,
    severity TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE NOT NULL,
    acted BOOLEAN DEFAULT 'false' NOT NULL,
    PRIMARY KEY (key)
);
