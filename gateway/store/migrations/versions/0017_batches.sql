-- Batches, and the files that they are made of.

CREATE TABLE files (
    id TEXT NOT NULL,
    key_id TEXT DEFAULT '' NOT NULL,
    purpose TEXT DEFAULT '' NOT NULL,
    filename TEXT DEFAULT '' NOT NULL,
    bytes BIGINT NOT NULL,
    content BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX files_key ON files (key_id, created_at);
CREATE INDEX files_created ON files (created_at);

CREATE TABLE batches (
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    key_id TEXT DEFAULT '' NOT NULL,
    family TEXT DEFAULT '' NOT NULL,
    endpoint TEXT DEFAULT '' NOT NULL,
    digest TEXT DEFAULT '' NOT NULL,
    input_file_id TEXT DEFAULT '' NOT NULL,
    metadata JSONB DEFAULT '{}'::jsonb NOT NULL,
    requests INTEGER DEFAULT '0' NOT NULL,
    provider TEXT DEFAULT '' NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    attempt_id TEXT DEFAULT '' NOT NULL,
    process_id TEXT DEFAULT '' NOT NULL,
    day TEXT DEFAULT '' NOT NULL,
    asked_nano_usd BIGINT DEFAULT '0' NOT NULL,
    cost_nano_usd BIGINT DEFAULT '0' NOT NULL,
    opened JSONB DEFAULT '{}'::jsonb NOT NULL,
    told JSONB DEFAULT '{}'::jsonb NOT NULL,
    upload BYTEA,
    provider_batch_id TEXT DEFAULT '' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    output_file_id TEXT DEFAULT '' NOT NULL,
    error_file_id TEXT DEFAULT '' NOT NULL,
    cancel_asked BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sending_at TIMESTAMP WITH TIME ZONE,
    sent_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT batches_state CHECK (
        state IN ('opening', 'held', 'sending', 'sent', 'ended', 'refused', 'failed', 'lost')
    )
);
CREATE INDEX batches_key ON batches (key_id, created_at);
CREATE INDEX batches_created ON batches (created_at);
