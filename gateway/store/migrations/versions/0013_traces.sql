-- Who keeps traces; a row here, and whoever books marks what there is to tell them.

CREATE TABLE trace_targets (
    name TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (name)
);

CREATE SEQUENCE trace_marks;

CREATE TABLE trace_outbox (
    target TEXT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    mark BIGINT NOT NULL,
    tries BIGINT DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (target, subject)
);
CREATE INDEX trace_outbox_order ON trace_outbox (target, mark);

-- When the work began whose result the item is; null for what people and models said.
ALTER TABLE items ADD COLUMN started_at TIMESTAMP WITH TIME ZONE;
