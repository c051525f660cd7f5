-- Answers that may be given again, and what that saved.

CREATE TABLE cached_answers (
    key TEXT COLLATE "C" NOT NULL,
    answer JSON NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (key)
);
CREATE INDEX cached_answers_expiry ON cached_answers (expires_at);

ALTER TABLE attempts ADD COLUMN saved_nano_usd BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE usage_hours ADD COLUMN saved_nano_usd BIGINT DEFAULT '0' NOT NULL;
