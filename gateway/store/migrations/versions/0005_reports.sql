-- Reports, kept for ever, and to whom they were delivered.

CREATE TABLE reports (
    kind TEXT NOT NULL,
    period TEXT NOT NULL,
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    version INTEGER DEFAULT '0' NOT NULL,
    preliminary BOOLEAN DEFAULT 'false' NOT NULL,
    document JSON NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (kind, period),
    CONSTRAINT reports_kind CHECK (kind IN ('daily', 'weekly'))
);

CREATE INDEX reports_day ON reports (last_day);

-- owner: the activity that is at it, until its claim lapses.
CREATE TABLE report_deliveries (
    kind TEXT NOT NULL,
    period TEXT NOT NULL,
    channel TEXT NOT NULL,
    owner TEXT DEFAULT '' NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    delivered_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (kind, period, channel),
    FOREIGN KEY(kind, period) REFERENCES reports (kind, period)
);

-- What went wrong in a period, without reading what went well; of failures nothing but the index.
CREATE INDEX attempts_failed ON attempts (state, at) INCLUDE (error_type, status, provider)
    WHERE success = false;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
