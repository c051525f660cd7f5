-- Alerts: what fires, who was told, who wants quiet.

-- What was there before is noticed: nobody is told of it now. (A default that is taken away again
-- writes no row anew.)
ALTER TABLE events
    ADD COLUMN state TEXT DEFAULT 'firing' NOT NULL,
    ADD COLUMN severity TEXT DEFAULT '' NOT NULL,
    ADD COLUMN noticed_at TIMESTAMP WITH TIME ZONE DEFAULT now();
ALTER TABLE events ALTER COLUMN noticed_at DROP DEFAULT;
ALTER TABLE events ADD CONSTRAINT events_state CHECK (state IN ('firing', 'resolved'));
CREATE INDEX events_unnoticed ON events (at) WHERE noticed_at IS NULL;

ALTER TABLE switch_events ADD COLUMN noticed_at TIMESTAMP WITH TIME ZONE DEFAULT now();
ALTER TABLE switch_events ALTER COLUMN noticed_at DROP DEFAULT;
CREATE INDEX switch_events_unnoticed ON switch_events (at) WHERE noticed_at IS NULL;

CREATE TABLE alerts (
    id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    scope TEXT DEFAULT '' NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    title TEXT DEFAULT '' NOT NULL,
    evidence JSONB DEFAULT '{}'::jsonb NOT NULL,
    action TEXT DEFAULT '' NOT NULL,
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE,
    count INTEGER DEFAULT '0' NOT NULL,
    generation INTEGER DEFAULT '0' NOT NULL,
    status TEXT DEFAULT 'firing' NOT NULL,
    told_generation INTEGER DEFAULT '0' NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    last_told_at TIMESTAMP WITH TIME ZONE,
    quiet_until TIMESTAMP WITH TIME ZONE,
    look_at TIMESTAMP WITH TIME ZONE,
    nudged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by TEXT DEFAULT '' NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    resolution TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT alerts_status CHECK (status IN ('firing', 'acknowledged', 'resolved')),
    CONSTRAINT alerts_severity CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE status <> 'resolved';
CREATE INDEX alerts_nudged ON alerts (nudged_at) WHERE nudged_at IS NOT NULL;
CREATE INDEX alerts_look ON alerts (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX alerts_seen ON alerts (last_seen);

-- Each event counts once, in one alert, however often it is read.
CREATE TABLE alert_sightings (
    event_key TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    PRIMARY KEY (event_key),
    FOREIGN KEY(alert_id) REFERENCES alerts (id) ON DELETE CASCADE
);

CREATE INDEX alert_sightings_alert ON alert_sightings (alert_id);

-- Patterns; '' matches everything.
CREATE TABLE silences (
    id TEXT NOT NULL,
    rule TEXT DEFAULT '' NOT NULL,
    scope TEXT DEFAULT '' NOT NULL,
    agent TEXT DEFAULT '' NOT NULL,
    team TEXT DEFAULT '' NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    by TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX silences_until ON silences (until);

-- subject: an alert's id, or what else people were told of.
CREATE TABLE deliveries (
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    channel TEXT NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    planned_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    delivered_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (subject, kind, number, channel),
    CONSTRAINT deliveries_state CHECK (state IN ('pending', 'delivered', 'refused', 'failed', 'superseded'))
);

CREATE INDEX deliveries_planned ON deliveries (planned_at);
