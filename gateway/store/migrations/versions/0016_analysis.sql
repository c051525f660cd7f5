-- What analysts read. Money is in dollars, as numeric, exact to the nano-dollar. docs/queries.md

-- One row per attempt that something was sent for (or might have been), with what it came to by now.
CREATE VIEW llm_usage_logs AS
SELECT a.trace_id,
       a.span_id,
       a.at AS "timestamp",
       a.application AS application_name,
       a.user_id,
       a.session,
       a.endpoint,
       coalesce(nullif(a.model, ''), a.deployment) AS model_name,
       a.provider,
       a.input_tokens + a.cache_read_tokens + a.cache_write_tokens AS input_tokens,
       a.output_tokens,
       (coalesce((SELECT sum(l.amount_nano_usd) FROM ledger AS l WHERE l.attempt_id = a.attempt_id), 0)
        / 1000000000)::numeric(18, 9) AS total_cost_usd,
       CASE WHEN a.done_at IS NOT NULL THEN
           round(extract(epoch FROM a.done_at - CASE WHEN a.number > 1 THEN coalesce(a.reserved_at, a.queued_at)
                                                     ELSE coalesce(a.queued_at, a.reserved_at) END) * 1000, 3)
       END AS latency_ms,
       a.success,
       a.error_type,
       a.error_message,
       jsonb_build_object(
           'attempt_id', a.attempt_id, 'call', a.call_key, 'run', a.run_id, 'step', a.step, 'agent', a.agent,
           'team', a.team, 'feature', a.feature, 'tier', a.tier, 'deployment', a.deployment, 'key', a.key_id,
           'mode', a.mode, 'state', a.state, 'basis', a.basis, 'cached', a.cached, 'tags', a.tags
       ) AS metadata
FROM attempts AS a
WHERE a.state <> 'refused';

-- The same by the hour, fast over any number of attempts; brought up to date by reports, the sweep (every
-- minute) and the admin API.
CREATE VIEW llm_usage AS
SELECT hour, day, agent, deployment, provider, model AS model_name, tier, team, feature,
       application AS application_name, endpoint, key_id, mode,
       attempts AS requests, errors, refusals, cached,
       input_tokens + cache_read_tokens + cache_write_tokens AS input_tokens, output_tokens, cache_read_tokens,
       (cost_nano_usd::numeric / 1000000000)::numeric(18, 9) AS total_cost_usd,
       (saved_nano_usd::numeric / 1000000000)::numeric(18, 9) AS saved_usd
FROM usage_hours;

-- Alerts that are about money.
CREATE VIEW cost_alerts AS
SELECT id, rule, severity, scope, agent, team, title, evidence, action, status, count, first_seen, last_seen,
       acknowledged_by, acknowledged_at, resolved_at
FROM alerts
WHERE rule ~ '^(velocity_|daily_budget_|soft_budget_)'
   OR rule IN ('cost_threshold', 'forecast_over_budget', 'hourly_jump', 'daily_sigma', 'seasonal', 'over_bound',
               'invoice_differs', 'usage_adopted', 'usage_unattributed');

-- Whoever makes backups writes here.
CREATE TABLE backup_logs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    kind TEXT DEFAULT '' NOT NULL,
    location TEXT DEFAULT '' NOT NULL,
    size_bytes BIGINT,
    success BOOLEAN NOT NULL,
    error_message TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX backup_logs_started ON backup_logs (started_at);

-- The last 24 hours, the newest first.
CREATE FUNCTION get_hourly_llm_cost() RETURNS TABLE (hour timestamptz, total_cost_usd numeric, requests bigint)
LANGUAGE sql STABLE AS $$
    SELECT u.hour, sum(u.total_cost_usd), sum(u.requests)::bigint FROM llm_usage AS u
    WHERE u.hour > now() - interval '24 hours' GROUP BY u.hour ORDER BY u.hour DESC
$$;

-- The last 30 accounting days, the newest first; of one user, or of everybody.
CREATE FUNCTION get_daily_llm_cost(user_id text DEFAULT NULL)
RETURNS TABLE (day date, total_cost_usd numeric, requests bigint)
LANGUAGE sql STABLE AS $$
    SELECT s.day, (sum(s.cost_nano_usd) / 1000000000)::numeric(18, 9), sum(s.attempts)::bigint
    FROM usage_users AS s
    WHERE s.day > current_date - 30
      AND (get_daily_llm_cost.user_id IS NULL OR s.user_id = get_daily_llm_cost.user_id)
    GROUP BY s.day ORDER BY s.day DESC
$$;

-- The last 12 months, the newest first.
CREATE FUNCTION get_monthly_llm_cost() RETURNS TABLE (month date, total_cost_usd numeric, requests bigint)
LANGUAGE sql STABLE AS $$
    SELECT date_trunc('month', u.day)::date, sum(u.total_cost_usd), sum(u.requests)::bigint FROM llm_usage AS u
    WHERE u.day > current_date - interval '12 months' GROUP BY 1 ORDER BY 1 DESC
$$;

-- Exact, from the attempts: for a few days of many, or many days of few.
CREATE FUNCTION get_llm_usage_stats(start_time timestamptz, end_time timestamptz)
RETURNS TABLE (
    model_name text, provider text, requests bigint, success_rate numeric, input_tokens numeric,
    output_tokens numeric, total_cost_usd numeric, avg_latency_ms numeric, p50_latency_ms numeric,
    p95_latency_ms numeric, p99_latency_ms numeric
)
LANGUAGE sql STABLE AS $$
    SELECT u.model_name, u.provider, count(*),
           round(avg(CASE WHEN u.success THEN 1 WHEN NOT u.success THEN 0 END), 6),
           sum(u.input_tokens), sum(u.output_tokens), sum(u.total_cost_usd),
           round(avg(u.latency_ms) FILTER (WHERE u.success), 3),
           round((percentile_cont(0.50) WITHIN GROUP (ORDER BY u.latency_ms) FILTER (WHERE u.success))::numeric, 3),
           round((percentile_cont(0.95) WITHIN GROUP (ORDER BY u.latency_ms) FILTER (WHERE u.success))::numeric, 3),
           round((percentile_cont(0.99) WITHIN GROUP (ORDER BY u.latency_ms) FILTER (WHERE u.success))::numeric, 3)
    FROM llm_usage_logs AS u
    WHERE u."timestamp" >= start_time AND u."timestamp" < end_time
    GROUP BY u.model_name, u.provider ORDER BY 7 DESC, 1, 2
$$;

-- Removes sums by the hour that nobody needs any more, and says how many rows. Attempts and the ledger are the
-- Retention workflow's and nobody else's.
CREATE FUNCTION cleanup_old_llm_usage(older_than interval DEFAULT '3 years') RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    removed bigint := 0;
    part bigint;
    before timestamptz := now() - older_than;
BEGIN
    IF older_than < interval '62 days' THEN
        RAISE EXCEPTION 'cleanup_old_llm_usage: keep at least 62 days, budgets and reports read them'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(x'637562720003'::bigint);
    DELETE FROM usage_hours WHERE hour < before;
    GET DIAGNOSTICS part = ROW_COUNT;
    removed := removed + part;
    DELETE FROM usage_users WHERE hour < before;
    GET DIAGNOSTICS part = ROW_COUNT;
    removed := removed + part;
    DELETE FROM latency_hours WHERE hour < before;
    GET DIAGNOSTICS part = ROW_COUNT;
    RETURN removed + part;
END
$$;
