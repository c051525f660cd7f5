-- Of a token only an HMAC is kept; the token itself is nowhere.
CREATE TABLE api_keys (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    user_id TEXT DEFAULT '' NOT NULL,
    tiers TEXT[],
    models TEXT[],
    rate_tier TEXT DEFAULT 'free' NOT NULL,
    roles TEXT[] DEFAULT '{call}'::text[] NOT NULL,
    tags JSONB DEFAULT '{}'::jsonb NOT NULL,
    created_by TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    frozen_at TIMESTAMP WITH TIME ZONE,
    frozen_by TEXT DEFAULT '' NOT NULL,
    frozen_with_team BOOLEAN DEFAULT 'false' NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    revoked_by TEXT DEFAULT '' NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    version BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT api_keys_id CHECK (id ~ '^[A-Za-z0-9._-]+$'),
    CONSTRAINT api_keys_rate_tier CHECK (rate_tier IN ('free', 'pro', 'enterprise'))
);

CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_version ON api_keys (version);

-- A key has more than one token while it is being rotated.
CREATE TABLE api_key_tokens (
    prefix TEXT NOT NULL,
    key_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    secret_id TEXT NOT NULL,
    created_by TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (prefix),
    FOREIGN KEY(key_id) REFERENCES api_keys (id) ON DELETE CASCADE
);

CREATE INDEX api_key_tokens_key ON api_key_tokens (key_id);

CREATE TABLE server_secrets (
    name TEXT NOT NULL,
    secret TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (name)
);

-- One row per minute, process, limit and caller: whoever hammers does not fill the database.
CREATE TABLE rate_limit_violations (
    id TEXT NOT NULL,
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    process_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    scope TEXT NOT NULL,
    tier TEXT DEFAULT '' NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    user_id TEXT DEFAULT '' NOT NULL,
    key_id TEXT DEFAULT '' NOT NULL,
    address TEXT DEFAULT '' NOT NULL,
    endpoint TEXT DEFAULT '' NOT NULL,
    rate_limit INTEGER DEFAULT '0' NOT NULL,
    window_ms BIGINT DEFAULT '0' NOT NULL,
    refused INTEGER DEFAULT '0' NOT NULL,
    first_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX rate_limit_violations_minute ON rate_limit_violations (minute);
CREATE INDEX rate_limit_violations_scope ON rate_limit_violations (scope, minute);
