-- One look per provider or deployment and slot of the schedule; what is held of each now.

CREATE TABLE probes (
    provider TEXT NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    kind TEXT DEFAULT '' NOT NULL,
    ok BOOLEAN NOT NULL,
    blame TEXT DEFAULT '' NOT NULL,
    latency_ms INTEGER DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    probed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (provider, deployment, at),
    CONSTRAINT probes_blame CHECK (blame IN ('', 'provider', 'us'))
);
CREATE INDEX probes_time ON probes (at);

CREATE TABLE provider_health (
    provider TEXT NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    status TEXT DEFAULT 'unknown' NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    since TIMESTAMP WITH TIME ZONE,
    recovered_at TIMESTAMP WITH TIME ZONE,
    relapses INTEGER DEFAULT '0' NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE,
    latency_ms INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (provider, deployment),
    CONSTRAINT provider_health_status CHECK (status IN ('unknown', 'up', 'degraded', 'down'))
);

-- The providers' own usage beside the books, by day (UTC), and what each hour's reconciliation found.

CREATE TABLE unattributed_usage (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    day DATE NOT NULL,
    exclusive BOOLEAN DEFAULT 'false' NOT NULL,
    input_tokens BIGINT DEFAULT '0' NOT NULL,
    output_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_read_tokens BIGINT DEFAULT '0' NOT NULL,
    cache_write_tokens BIGINT DEFAULT '0' NOT NULL,
    amount_nano_usd BIGINT,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (provider, model, day)
);
CREATE INDEX unattributed_usage_day ON unattributed_usage (day);

CREATE TABLE provider_costs (
    provider TEXT NOT NULL,
    day DATE NOT NULL,
    billed_nano_usd BIGINT DEFAULT '0' NOT NULL,
    ledger_nano_usd BIGINT DEFAULT '0' NOT NULL,
    tolerance_nano_usd BIGINT DEFAULT '0' NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (provider, day)
);

CREATE TABLE reconciliations (
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    ledger_nano_usd BIGINT DEFAULT '0' NOT NULL,
    invoice_nano_usd BIGINT,
    in_doubt_nano_usd BIGINT DEFAULT '0' NOT NULL,
    pending_nano_usd BIGINT DEFAULT '0' NOT NULL,
    unattributed_nano_usd BIGINT DEFAULT '0' NOT NULL,
    settled INTEGER DEFAULT '0' NOT NULL,
    adjusted INTEGER DEFAULT '0' NOT NULL,
    adopted INTEGER DEFAULT '0' NOT NULL,
    left_open INTEGER DEFAULT '0' NOT NULL,
    counters INTEGER DEFAULT '0' NOT NULL,
    differences INTEGER DEFAULT '0' NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (hour)
);
