-- Closed days and months, what each budget had come to, scheduled work that was done, and how far
-- retention has come.

CREATE TABLE days (
    period TEXT NOT NULL,
    window_id TEXT NOT NULL,
    start_at TIMESTAMP WITH TIME ZONE NOT NULL,
    end_at TIMESTAMP WITH TIME ZONE NOT NULL,
    preliminary BOOLEAN DEFAULT 'false' NOT NULL,
    spent_nano_usd BIGINT DEFAULT '0' NOT NULL,
    verified BOOLEAN DEFAULT 'false' NOT NULL,
    differences INTEGER DEFAULT '0' NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (period, window_id),
    CONSTRAINT days_period CHECK (period IN ('day', 'month'))
);

-- No unique key over the scopes: they are as long as callers make them, and an index page is not.
CREATE TABLE budget_windows (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    period TEXT NOT NULL,
    window_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    limit_nano_usd BIGINT,
    topped_nano_usd BIGINT DEFAULT '0' NOT NULL,
    spent_nano_usd BIGINT DEFAULT '0' NOT NULL,
    held_nano_usd BIGINT DEFAULT '0' NOT NULL,
    in_doubt_nano_usd BIGINT DEFAULT '0' NOT NULL,
    overrun_nano_usd BIGINT DEFAULT '0' NOT NULL,
    refusals INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(period, window_id) REFERENCES days (period, window_id) ON DELETE CASCADE
);

CREATE INDEX budget_windows_window ON budget_windows (period, window_id);

CREATE TABLE scheduled_work (
    kind TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    outcome JSONB DEFAULT '{}'::jsonb NOT NULL,
    done_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (kind, at)
);

CREATE TABLE retention_marks (
    name TEXT NOT NULL,
    kept_from TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (name)
);
